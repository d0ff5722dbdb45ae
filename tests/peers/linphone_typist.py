"""The library of linphone 5.1 as a phone with real-time text: it answers, prints each character, types what it is told.

Run as a process of its own (`python linphone_typist.py CONFIG TONE ORDERS`), because the console client has no word for
text. Lines of the FIFO `ORDERS` are `call URI` and `type TEXT`; texts are typed character by character.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time

INCOMING, STREAMS_RUNNING = 1, 8
"""States of a call."""
REGISTERED = 2
"""State of a registration."""

_LIBRARY = "liblinphone.so.10"
_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_FACES: dict[str, tuple[object, list[object]]] = {
    "linphone_factory_get": (_POINTER, []),
    "linphone_factory_create_core_3": (_POINTER, [_POINTER, _TEXT, _TEXT, _POINTER]),
    "linphone_core_set_log_level": (None, [_INT]),
    "linphone_core_enable_realtime_text": (_INT, [_POINTER, ctypes.c_ubyte]),
    "linphone_core_set_use_files": (None, [_POINTER, ctypes.c_ubyte]),
    "linphone_core_set_play_file": (None, [_POINTER, _TEXT]),
    "linphone_core_start": (_INT, [_POINTER]),
    "linphone_core_iterate": (None, [_POINTER]),
    "linphone_core_get_default_proxy_config": (_POINTER, [_POINTER]),
    "linphone_proxy_config_get_state": (_INT, [_POINTER]),
    "linphone_core_get_current_call": (_POINTER, [_POINTER]),
    "linphone_call_get_state": (_INT, [_POINTER]),
    "linphone_core_create_call_params": (_POINTER, [_POINTER, _POINTER]),
    "linphone_call_params_enable_realtime_text": (_INT, [_POINTER, ctypes.c_ubyte]),
    "linphone_core_interpret_url": (_POINTER, [_POINTER, _TEXT]),
    "linphone_core_invite_address_with_params": (_POINTER, [_POINTER, _POINTER, _POINTER]),
    "linphone_call_accept_with_params": (_INT, [_POINTER, _POINTER]),
    "linphone_call_get_chat_room": (_POINTER, [_POINTER]),
    "linphone_chat_room_get_char": (ctypes.c_uint32, [_POINTER]),
    "linphone_chat_room_create_empty_message": (_POINTER, [_POINTER]),
    "linphone_chat_message_put_char": (_INT, [_POINTER, ctypes.c_uint32]),
}


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY)
    for name, (result, arguments) in _FACES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(config: str, tone: str, orders: str) -> None:
    linphone = _library()
    linphone.linphone_core_set_log_level(4)
    core = linphone.linphone_factory_create_core_3(linphone.linphone_factory_get(), config.encode(), None, None)
    linphone.linphone_core_enable_realtime_text(core, 1)
    linphone.linphone_core_set_use_files(core, 1)
    linphone.linphone_core_set_play_file(core, tone.encode())
    linphone.linphone_core_start(core)
    # Held open for reading and writing: no end of input between two orders.
    pipe = os.open(orders, os.O_RDWR | os.O_NONBLOCK)
    message, orders_left, talking, registered = None, "", False, False
    while True:
        linphone.linphone_core_iterate(core)
        proxy = linphone.linphone_core_get_default_proxy_config(core)
        if not registered and proxy and linphone.linphone_proxy_config_get_state(proxy) == REGISTERED:
            registered = True
            _say("registered")
        call = linphone.linphone_core_get_current_call(core)
        state = linphone.linphone_call_get_state(call) if call else None
        if state == INCOMING:
            linphone.linphone_call_accept_with_params(call, _with_text(linphone, core, call))
        room = None
        if state == STREAMS_RUNNING:
            room = linphone.linphone_call_get_chat_room(call)
            if not talking:
                talking = True
                _say("talking")
            while character := linphone.linphone_chat_room_get_char(room):
                _say(f"read {character:x}")
        with contextlib.suppress(BlockingIOError):
            orders_left += os.read(pipe, 4096).decode()
        while "\n" in orders_left:
            line, _, orders_left = orders_left.partition("\n")
            word, _, rest = line.partition(" ")
            if word == "call":
                target = linphone.linphone_core_interpret_url(core, rest.encode())
                linphone.linphone_core_invite_address_with_params(core, target, _with_text(linphone, core, None))
            elif room is not None:
                message = message or linphone.linphone_chat_room_create_empty_message(room)
                for character in rest:
                    linphone.linphone_chat_message_put_char(message, ord(character))
        time.sleep(0.02)


def _with_text(linphone: ctypes.CDLL, core: object, call: object) -> object:
    params = linphone.linphone_core_create_call_params(core, call)
    linphone.linphone_call_params_enable_realtime_text(params, 1)
    return params


if __name__ == "__main__":
    main(*sys.argv[1:])
