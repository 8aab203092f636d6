-- Run once by the postgres image, when its volume is empty. Each actor owns one database.
CREATE DATABASE booking;
CREATE DATABASE payment;
