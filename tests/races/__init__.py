"""Many clients for few seats, actors that are killed in the middle, and actors that come back too late."""
