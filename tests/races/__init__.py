"""Many clients for few seats, actors that are killed in the middle, and stopped actors that continue too late."""
