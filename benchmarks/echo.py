"""`python -m benchmarks.echo`: what the HTTP server can do when the application does nothing but answer the body."""

from starlette.types import Receive, Scope, Send

from api.__main__ import serve
from settings import Settings


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the body of the request."""
    if scope["type"] != "http":
        return
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve(echo, Settings.from_env())
