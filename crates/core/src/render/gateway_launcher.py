"""Serves LiteLLM, and hands its port from one instance to the next without losing a request.

The life of an instance, as it tells the service manager in STATUS=:
  held          The app has started and answers on a private socket; clients do not reach it yet (READY=1).
  accepting     The hold file is gone; clients reach it on the public socket.
  draining N    It was sent SIGTERM: it takes no new connection, and N are still open.

Why it is not plain uvicorn, which loses a few requests in thousands:
- The public socket is made by somebody who outlives the instances, and handed over (sd_listen_fds(3)). Old and new
  instance accept from the same queue, so that what one no longer accepts waits for the other and is never refused.
- uvicorn accepts as soon as the app has started, before anybody could look at it. Hence two servers for one app: the
  private one starts the app and can be asked what it offers, the public one starts only when the hold file is gone.
- uvicorn's shutdown closes connections that it has accepted but not read from yet, and their clients see a reset.
  Hence only the listener is closed at first. Every answer from then on says `connection: close`, idle connections run
  into the keep-alive timeout, and uvicorn shuts down when none is left, or when the limit is reached.
- A child process that inherits the public socket would keep connections that it never accepts, and one that inherits
  the notify socket could speak for us. Hence neither is passed on.

Where nobody hands over a socket, `--bind` makes one: instances then follow each other, and only the end is gentle.
The private socket is open to whoever may enter its folder.
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
import time

import uvicorn


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--private", required=True, metavar="PATH", help="the unix socket to start on")
    parser.add_argument("--generation", required=True, help="what every answer says in x-llamero-generation")
    parser.add_argument("--gate", metavar="PATH", help="clients are not served while this file exists")
    parser.add_argument("--bind", metavar="HOST:PORT", help="the public address, where no socket is handed over")
    parser.add_argument("--app", default="litellm.proxy.proxy_server:app", metavar="MODULE:NAME")
    return parser.parse_args()


def public_socket(address):
    process, count, _ = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if process == str(os.getpid()) and count == "1":
        public = socket.socket(fileno=3)  # SD_LISTEN_FDS_START
        public.set_inheritable(False)
        return public
    if not address:
        sys.exit("not exactly one listening socket was handed over, and there is no --bind")
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


def teller():
    """Returns what speaks to the service manager (sd_notify(3)), or to the log where there is none."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    if not path:
        return print
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.connect("\0" + path[1:] if path[0] == "@" else path)
    return lambda text: manager.send(text.encode())


class Server(uvicorn.Server):
    def capture_signals(self):
        return contextlib.nullcontext()  # Two servers and one drain: the signals are ours.


async def start(server, sockets=None):
    task = asyncio.create_task(server.serve(sockets))
    while not server.started:
        await asyncio.wait({task}, timeout=0.01)
        if task.done():
            sys.exit(task.result() or 3)  # uvicorn's own code for a start that failed
    return task


async def drain(state, tell, longest):
    end, told = time.monotonic() + longest, None
    while time.monotonic() < end:
        # What was accepted last is not among the connections before the loop has turned.
        await asyncio.sleep(0.1)
        count = len(state.connections)
        if count == 0 and not state.tasks:
            return
        if count != told:
            tell(f"STATUS=draining {count}")
            told = count
    print(f"{told} connections are cut: still open {longest:g} s after SIGTERM", file=sys.stderr)


async def serve(app, options, public, tell):
    longest = int(os.environ.get("LLAMERO_DRAIN_SECONDS", 600))
    idle = int(os.environ.get("LLAMERO_KEEP_ALIVE_SECONDS", 5))
    stop, draining = asyncio.Event(), False
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def front(scope, receive, send):
        async def answer(message):
            if message["type"] == "http.response.start":
                more = [(b"x-llamero-generation", options.generation.encode())]
                more += [(b"connection", b"close")] * draining
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        else:
            # What the app left there when it started; only the private server has it.
            await app({**scope, "state": dict(inner.lifespan.state)}, receive, answer)

    # At the limit an answer still on its way gets one more second; without a number uvicorn would wait for ever.
    common = {"timeout_keep_alive": idle, "timeout_graceful_shutdown": 1, "access_log": False}
    inner = Server(uvicorn.Config(front, uds=options.private, lifespan="on", **common))
    outer = Server(uvicorn.Config(front, lifespan="off", **common))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(options.private)
    inside = await start(inner)
    tell("READY=1\nSTATUS=held")
    while options.gate and os.path.exists(options.gate) and not stop.is_set():
        await asyncio.sleep(0.02)
    if not stop.is_set():
        outside = await start(outer, [public])
        tell("STATUS=accepting")
        await stop.wait()
        for listener in outer.servers:
            listener.close()
        draining = True
        tell("STATUS=draining")
        await drain(outer.server_state, tell, longest)
        outer.should_exit = True
        await outside
    inner.should_exit = True
    await inside
    os.unlink(options.private)


if __name__ == "__main__":
    options, tell = arguments(), teller()
    public = public_socket(options.bind)
    module, _, name = options.app.partition(":")
    app = getattr(importlib.import_module(module), name)
    loop = (uvicorn.Config(app).get_loop_factory() or asyncio.new_event_loop)()  # uvloop, where it is installed
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(app, options, public, tell))
