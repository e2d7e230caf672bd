import psycopg2
import redis

from ops.stack.services import Services


def test_each_service_answers_at_its_address(services: Services) -> None:
    connection = psycopg2.connect(services.database_url)
    connection.close()
    assert redis.Redis.from_url(services.redis_url).ping()
    assert services.rabbitmq.running()
