"""A vLLM plugin for the processes that vLLM itself starts: the engine core and its workers.

vLLM loads it through its own plugin interface (the entry point beside this file), from a folder that `serving` puts on
vLLM's import path. It mends two faults seen in 0.32:

- An engine core whose server was killed stays for ever, with all its memory. Here it follows its parent.
- On a CPU with AMX, attention uses the tile registers before anything asked the kernel for them if the first prompt
  is short and the model small, and dies of an illegal instruction. Here they are asked for at the start.
"""  # noqa: INP001  a folder on vLLM's path, not a package of ours

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading


def register() -> None:
    """Set this process up, if vLLM started it. Called once by vLLM in each of its processes."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, name="glidepath-follow-parent", daemon=True).start()
    ask_for_amx = getattr(getattr(sys.modules.get("torch"), "cpu", None), "_init_amx", None)
    if ask_for_amx is not None:
        ask_for_amx()
