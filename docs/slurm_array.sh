#!/usr/bin/env bash
# An array job of SLURM: each task does one line of the commands of experiments.py, that is, the runs of one folder.
#
#   python experiments.py TABLE.toml --print_commands > commands.txt
#   sbatch --array=1-$(wc -l < commands.txt) docs/slurm_array.sh commands.txt
#
# Without SLURM, one after another: for i in $(seq $(wc -l < commands.txt)); do SLURM_ARRAY_TASK_ID=$i bash docs/slurm_array.sh commands.txt; done
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
set -euo pipefail
eval "$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")"
