"""What builds, runs and checks the lessons. Nothing here is needed to follow the course."""
