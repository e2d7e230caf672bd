"""A private Postgres, RabbitMQ and Redis, and the application's processes on top."""
