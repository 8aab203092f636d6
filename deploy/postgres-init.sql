-- The postgres image runs this once, when its volume is empty. Each actor owns one database.
CREATE DATABASE booking;
CREATE DATABASE payment;
