"""Serves LiteLLM, and hands its socket off from one instance to the next without losing a request.

The states of an instance, as it reports them to the service manager in STATUS=:
  held          The app has started and answers on a private socket; clients do not reach it yet (READY=1).
  accepting     The gate file is gone; clients reach it on the public socket.
  draining N    It received SIGTERM: it accepts no new connection, and N are still open.

Plain uvicorn would lose a few requests in thousands on a restart:
- The public socket is created by a process that outlives the instances, and passed to them (sd_listen_fds(3)). Old and
  new instance accept from the same queue, so a connection that one no longer accepts waits for the other and is never
  refused.
- uvicorn accepts as soon as the app has started, before it can be verified. Hence two servers for one app: the private
  one starts the app and serves verification, the public one starts only when the gate file is gone.
- uvicorn's shutdown closes connections that it has accepted but not read from yet, and their clients see a reset.
  Hence only the listener is closed at first. From then on every answer has `connection: close`, idle connections reach
  the keep-alive timeout, and uvicorn shuts down when none is left, or at the time limit.
- A child process that inherits the public socket would keep connections that it never accepts, and one that inherits
  the notify socket could report in this program's name. Hence neither is inherited.

Without a passed socket, `--bind` creates one: instances then run one after the other, and only their end is graceful.
The private socket is open to every user who may enter its folder.
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
    parser.add_argument("--bind", metavar="HOST:PORT", help="the public address, where no socket is passed")
    parser.add_argument("--app", default="litellm.proxy.proxy_server:app", metavar="MODULE:NAME")
    return parser.parse_args()


def public_socket(address):
    process, count, _ = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if process == str(os.getpid()) and count == "1":
        public = socket.socket(fileno=3)  # SD_LISTEN_FDS_START
        public.set_inheritable(False)
        return public
    if not address:
        sys.exit("expected exactly one listening socket, or --bind")
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


def notifier():
    """Returns a notifier to the service manager (sd_notify(3)), or to the log where there is none."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    if not path:
        return print
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.connect("\0" + path[1:] if path[0] == "@" else path)
    return lambda text: manager.send(text.encode())


class Server(uvicorn.Server):
    def capture_signals(self):
        return contextlib.nullcontext()  # Two servers share one drain: this program handles the signals.


async def start(server, sockets=None):
    task = asyncio.create_task(server.serve(sockets))
    while not server.started:
        await asyncio.wait({task}, timeout=0.01)
        if task.done():
            sys.exit(task.result() or 3)  # uvicorn's own exit code for a failed start
    return task


async def drain(state, notify, longest):
    end, reported = time.monotonic() + longest, None
    while time.monotonic() < end:
        # A connection accepted last is registered only in the next iteration of the loop.
        await asyncio.sleep(0.1)
        count = len(state.connections)
        if count == 0 and not state.tasks:
            return
        if count != reported:
            notify(f"STATUS=draining {count}")
            reported = count
    print(f"{reported} connections are cut: still open {longest:g} s after SIGTERM", file=sys.stderr)


async def serve(app, options, public, notify):
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
            # The state set at the app's startup; only the private server has it.
            await app({**scope, "state": dict(inner.lifespan.state)}, receive, answer)

    # At the limit a pending answer gets one more second; without a number uvicorn would wait for ever.
    common = {"timeout_keep_alive": idle, "timeout_graceful_shutdown": 1, "access_log": False}
    inner = Server(uvicorn.Config(front, uds=options.private, lifespan="on", **common))
    outer = Server(uvicorn.Config(front, lifespan="off", **common))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(options.private)
    inside = await start(inner)
    notify("READY=1\nSTATUS=held")
    while options.gate and os.path.exists(options.gate) and not stop.is_set():
        await asyncio.sleep(0.02)
    if not stop.is_set():
        outside = await start(outer, [public])
        notify("STATUS=accepting")
        await stop.wait()
        for listener in outer.servers:
            listener.close()
        draining = True
        notify("STATUS=draining")
        await drain(outer.server_state, notify, longest)
        outer.should_exit = True
        await outside
    inner.should_exit = True
    await inside
    os.unlink(options.private)


if __name__ == "__main__":
    options, notify = arguments(), notifier()
    public = public_socket(options.bind)
    module, _, name = options.app.partition(":")
    app = getattr(importlib.import_module(module), name)
    loop = (uvicorn.Config(app).get_loop_factory() or asyncio.new_event_loop)()  # uvloop, if it is installed
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(app, options, public, notify))
