"""Runs kosoku, the successor of Autobahn's test suite, against a WebSocket server at `host:port`, and prints one line of
JSON: every case with its verdicts. More arguments are the cases to run, such as `9.*`; without any, all are."""

import asyncio
import json
import os
import sys

from kosoku import FailureError, run_fuzzingclient


async def main(address, *cases):
    try:
        results = await run_fuzzingclient(address, list(cases) or None, concurrency=2)
    except FailureError as failure:
        results = failure.results
    verdicts = {result.case_id: [result.behavior.value, result.behavior_close.value] for result in results}
    print(json.dumps(verdicts), flush=True)
    # Its threads outlive the run and abort the interpreter's own way out now and then.
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
