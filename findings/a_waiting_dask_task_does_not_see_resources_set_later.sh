#!/usr/bin/env bash
# A dask task that waits for a resource goes on waiting after a worker was given that resource.
#
# Met in: distributed 2026.8.0. Who marks workers once they run (this node has the GPU, that one has the right versions) calls
# Worker.set_resources, which the scheduler acknowledges: it lists the resource, and a task submitted from then on runs there.
# A task that was waiting before, also one whose worker died and that dask hands over by itself, is not looked at again: it
# stays pending, with an idle worker that fits it, until another worker joins with the resource from its start.
#
# Remedy: start workers with their resources (dask worker --resources), or choose the worker oneself (submit(..., workers=[...]))
# and watch Client.processing() for what is at no worker.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0
cat >"$work/waiting.py" <<'PYTHON'
import logging
import time
from importlib.metadata import version

from distributed import Client, LocalCluster, wait


async def mark(dask_worker):
    await dask_worker.set_resources(fits=1)


def listed(dask_scheduler):
    return [dict(worker.resources) for worker in dask_scheduler.workers.values()]


if __name__ == "__main__":
    print("distributed", version("distributed"))
    how = {"processes": False, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=1, threads_per_worker=1, **how) as cluster, Client(cluster) as client:
        before = client.submit(abs, -1, key="before", resources={"fits": 1})
        time.sleep(1)
        client.run(mark)
        print("resources that the scheduler lists:", client.run_on_scheduler(listed))
        after = client.submit(abs, -2, key="after", resources={"fits": 1})
        wait(after, timeout=30)
        print("a task submitted after:", after.status)
        time.sleep(10)
        print("the one that waited, ten seconds later:", before.status)
        first = cluster.worker_spec[0]
        cluster.worker_spec[1] = {**first, "options": {**first["options"], "resources": {"fits": 1}}}
        cluster.scale(2)
        wait(before, timeout=30)
        print("once another worker has come with it:", before.status)
PYTHON
seen=$("$work/venv/bin/python" "$work/waiting.py")
echo "$seen"
expected="distributed 2026.8.0
resources that the scheduler lists: [{'fits': 1}]
a task submitted after: finished
the one that waited, ten seconds later: pending
once another worker has come with it: finished"
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
