"""`python -m bench.hello_server`: the hello application under the very server of the API.

Whatever the API's server is set to, this one is: only the application is exchanged.
"""

from api import serve
from bench.hello import hello_application
from config.settings import Settings

if __name__ == "__main__":
    setattr(serve, "_application", hello_application)  # noqa: B010  Its type is another.
    serve.run(Settings.from_env())
