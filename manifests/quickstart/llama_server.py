"""Serves one model with llama.cpp's own HTTP server, taken from the PyPI package xllamacpp.

It stands in for the program `llama-server` where that is not installed: it takes the same flags, refuses the ones it does not
know in the same words, and ends with the same exit codes (0 when asked to stop, 1 for a bad flag, a taken port or a model that
does not load). It adds nothing to the server and changes nothing in it.
"""

import os
import signal
import socket
import sys
import threading
import time

import xllamacpp


def refuse(message):
    """Writes one line the way llama-server does and ends with its exit code."""
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def whole(flag, value):
    """Returns the whole number behind a flag."""
    try:
        return int(value)
    except ValueError:
        refuse(f'error while handling argument "{flag}": invalid number `{value}`')


def cache_type(flag, value):
    """Returns llama.cpp's type for the keys or values of the cache."""
    known = {name: getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}") for name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")}
    if value not in known:
        refuse(f'error while handling argument "{flag}": Unsupported cache type: {value}')
    return known[value]


def flash_attention(flag, value):
    """Returns llama.cpp's word for flash attention."""
    words = {"on": "ENABLED", "1": "ENABLED", "off": "DISABLED", "0": "DISABLED", "auto": "AUTO"}
    if value not in words:
        refuse(f'error while handling argument "{flag}": unknown value for --flash-attn: `{value}`')
    return getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{words[value]}")


def pooling(flag, value):
    """Returns llama.cpp's way to make one vector of many; a model that writes text has none of its own."""
    if value not in ("none", "mean", "cls", "last", "rank"):
        refuse(f'error while handling argument "{flag}": invalid value')
    return getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{value.upper()}")


def layers(flag, value):
    """Returns how many layers go to the GPU; llama.cpp counts `auto` as -1 and `all` as -2."""
    return {"auto": -1, "all": -2}.get(value) or whole(flag, value)


def set_model(parameters, _flag, value):
    parameters.model.path = value


def set_threads(parameters, flag, value):
    parameters.cpuparams.n_threads = whole(flag, value)


def attribute(name, convert=lambda _flag, value: value):
    """Returns a setter for one attribute of llama.cpp's parameters."""
    return lambda parameters, flag, value: setattr(parameters, name, convert(flag, value))


def switch(name, value):
    """Returns a setter for a flag that takes no value."""
    return lambda parameters: setattr(parameters, name, value)


WITH_VALUE = {
    ("-m", "--model"): set_model,
    ("-a", "--alias"): attribute("model_alias", lambda _flag, value: set(value.split(","))),
    ("--host",): attribute("hostnames", lambda _flag, value: value.split(",")),
    ("--port",): attribute("port", whole),
    ("-c", "--ctx-size"): attribute("n_ctx", whole),
    ("-np", "--parallel"): attribute("n_parallel", whole),
    ("-ngl", "--gpu-layers", "--n-gpu-layers"): attribute("n_gpu_layers", layers),
    ("-ctk", "--cache-type-k"): attribute("cache_type_k", cache_type),
    ("-ctv", "--cache-type-v"): attribute("cache_type_v", cache_type),
    ("-fa", "--flash-attn"): attribute("flash_attn_type", flash_attention),
    ("-t", "--threads"): set_threads,
    ("--pooling",): attribute("pooling_type", pooling),
}
WITHOUT_VALUE = {
    ("--embedding", "--embeddings"): switch("embedding", True),
    ("--metrics",): switch("endpoint_metrics", True),
    ("--slots",): switch("endpoint_slots", True),
    ("--no-slots",): switch("endpoint_slots", False),
    ("--jinja",): switch("use_jinja", True),
    ("--no-jinja",): switch("use_jinja", False),
    ("--offline",): switch("offline", True),
    ("--webui",): switch("ui", True),
    ("--no-webui",): switch("ui", False),
}


def parse(words):
    """Returns llama.cpp's parameters for the words of a command line."""
    with_value = {flag: setter for flags, setter in WITH_VALUE.items() for flag in flags}
    without_value = {flag: setter for flags, setter in WITHOUT_VALUE.items() for flag in flags}
    parameters = xllamacpp.CommonParams()
    words = iter(words)
    for word in words:
        if word in without_value:
            without_value[word](parameters)
        elif word in with_value:
            value = next(words, None)
            if value is None:
                refuse(f"error: expected value for argument: {word}")
            with_value[word](parameters, word, value)
        else:
            refuse(f"error: invalid argument: {word}")
    return parameters


def refuse_taken_port(parameters):
    """llama.cpp would otherwise report a taken port as a crash of its HTTP thread."""
    for host in parameters.hostnames:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, parameters.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            refuse(f"couldn't bind HTTP server socket, hostname: {host}, port: {parameters.port}: {error.strerror}")


def main():
    parameters = parse(sys.argv[1:])
    if not parameters.model.path:
        refuse("error: --model is required")
    refuse_taken_port(parameters)
    # Threads block no signal and the load holds none of Python's locks, so a stop is answered at once, even in mid-load.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    outcome = []

    def load():
        try:
            outcome.append(xllamacpp.Server(parameters))
        except Exception as error:  # noqa: BLE001 - whatever llama.cpp says, the process must end with 1
            outcome.append(error)

    threading.Thread(target=load, daemon=True).start()
    while not stop.is_set():
        if outcome and isinstance(outcome[0], Exception):
            refuse(f"exiting due to model loading error: {outcome[0]}")
        time.sleep(0.05)
    # llama.cpp's own threads are not joined: an answer under way must not hold up a stop.
    sys.stdout.flush()
    os._exit(0)


main()
