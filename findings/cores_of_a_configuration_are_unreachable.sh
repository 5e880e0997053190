#!/usr/bin/env bash
# dask-jobqueue's scale(cores=N) raises RuntimeError("unreachable") where the cores of a job stand in the configuration.
#
# Met in: dask-jobqueue 0.9.0 on distributed 2026.8.0. A cluster's file (jobqueue.slurm: cores: 4) is the documented place for
# what never changes, and scale(cores=) the documented way to ask for so many in all. The configuration is read, the job script
# has the cores, and scale(jobs=) works; but scale(cores=) looks for them among the constructor's arguments alone.
#
# Remedy: scale(jobs=ceil(N / cores)), or give cores= to the constructor.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0 dask-jobqueue==0.9.0
cat >"$work/scale.py" <<'PYTHON'
from importlib.metadata import version

import dask
from dask_jobqueue import SLURMCluster

dask.config.set({"jobqueue.slurm.cores": 4, "jobqueue.slurm.memory": "8GB"})
how = {"interface": "lo", "scheduler_options": {"dashboard_address": "127.0.0.1:0"}}
print("dask-jobqueue", version("dask-jobqueue"), "distributed", version("distributed"))
for words in ({}, {"cores": 4, "memory": "8GB"}):
    with SLURMCluster(**how, **words) as cluster:
        script = [line for line in cluster.job_script().splitlines() if "cpus-per-task" in line]
        try:
            cluster.scale(cores=0)
            found = "taken"
        except RuntimeError as error:
            found = f"RuntimeError: {error}"
        print("given to the constructor:" if words else "in the configuration:", *script, "scale(cores=):", found)
PYTHON
seen=$("$work/venv/bin/python" "$work/scale.py")
echo "$seen"
expected="dask-jobqueue 0.9.0 distributed 2026.8.0
in the configuration: #SBATCH --cpus-per-task=4 scale(cores=): RuntimeError: unreachable
given to the constructor: #SBATCH --cpus-per-task=4 scale(cores=): taken"
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
