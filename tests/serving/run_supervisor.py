"""A supervisor process for tests to kill: `python run_supervisor.py PORT READY_FILE LOG_FILE ENGINE_ARGV...`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from serving.errors import ServingError
from serving.logfile import EngineLog
from serving.spec import ModelSpec
from serving.supervisor import Launch, Supervisor


async def main() -> int:
    port, ready_file, log_file, *argv = sys.argv[1:]
    spec = ModelSpec(model="/fake", served_name="fake", port=int(port))
    supervisor = Supervisor(
        spec, Launch(argv, os.environ), EngineLog(Path(log_file)), print, ready_file=Path(ready_file)
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    try:
        await supervisor.run()
    except ServingError as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
