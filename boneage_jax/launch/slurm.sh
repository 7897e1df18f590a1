#!/usr/bin/env bash
#
# Runs boneage_jax under SLURM: sbatch boneage_jax/launch/slurm.sh -- FLAGS
#
# Two minutes before the time is up, or when the job is preempted, the run saves
# and the job goes back into the queue, from where it goes on.
#
#SBATCH --job-name=boneage_jax
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue

set -euo pipefail

readonly PYTHON="${PYTHON:-python}"

#######################################
# Prints the manual.
#######################################
usage() {
  cat <<'EOF'
Usage: sbatch [OPTIONS OF SBATCH] slurm.sh [--port=PORT] [-- FLAGS OF MAIN]
       bash slurm.sh --dry-run [-- FLAGS OF MAIN]

One process per node drives all its GPUs; with as many tasks per node as GPUs
it is one process per GPU. --workdir must lie on a file system that all nodes
share. The environment that is active at sbatch is used; PYTHON=... names
another interpreter.

  --port=PORT   at which the processes meet (default 12321)
  --dry-run     print the command that a job would run, run none

Examples:
  sbatch --nodes=2 --gpus-per-node=4 boneage_jax/launch/slurm.sh \
    -- --config=configs/cascade.py --workdir=DIR --config.manual_dir=DIR
  sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 \
    boneage_jax/launch/slurm.sh -- --config=configs/cascade.py --workdir=DIR
EOF
}

die() {
  echo "slurm.sh: $* (--help shows the usage)" >&2
  exit 2
}

#######################################
# Sets `command`: srun with a process of boneage_jax.main per task.
#######################################
build_command() {
  local nodes="${SLURM_JOB_NUM_NODES:-1}" tasks="${SLURM_NTASKS:-1}"
  local cpus="${SLURM_CPUS_PER_TASK:-1}"
  # srun does not take over sbatch's --cpus-per-task from SLURM 22.05 on.
  command=(srun --kill-on-bad-exit=1 --cpus-per-task="${cpus}")
  if ((tasks > nodes)); then
    # JAX asks SLURM and takes the GPU of the task's number on its node.
    command+=("${PYTHON}" -m boneage_jax.main --distributed)
  else
    # Asked, JAX would take one GPU here, too; told, it takes all of the node.
    local first='localhost'
    if [[ -n "${SLURM_JOB_NODELIST:-}" ]]; then
      first="$(scontrol show hostnames "${SLURM_JOB_NODELIST}" | head -n 1)"
    fi
    # shellcheck disable=SC2016 # each task knows its own number
    command+=(
      bash -c 'exec "$@" --process="${SLURM_PROCID}"' bash
      "${PYTHON}" -m boneage_jax.main
      --coordinator="${first}:${port}" --processes="${tasks}"
    )
  fi
  command+=("${main_flags[@]}")
}

#######################################
# Lets the run save, then queues the job again.
#######################################
requeue() {
  if [[ -n "$(jobs -p)" ]]; then
    # Not through srun, which would kill its tasks at once.
    scancel --signal=TERM "${SLURM_JOB_ID}.0"
    wait || true
  fi
  scontrol requeue "${SLURM_JOB_ID}"
}

main() {
  local port=12321 dry_run='' main_flags=() command=()
  while (($#)); do
    case "$1" in
      --port=?*) port="${1#*=}" ;;
      --dry-run) dry_run=1 ;;
      --help)
        usage
        exit 0
        ;;
      --)
        shift
        main_flags=("$@")
        break
        ;;
      *) die "unknown argument $1" ;;
    esac
    shift
  done
  if [[ -z "${dry_run}" && -z "${SLURM_JOB_ID:-}" ]]; then
    die 'this is no job: start it with sbatch, or try --dry-run'
  fi
  build_command
  if [[ -n "${dry_run}" ]]; then
    local line='' word
    for word in "${command[@]}"; do
      [[ "${word}" =~ ^[A-Za-z0-9_./:=,@%+~-]+$ ]] || word="${word@Q}"
      line+="${word} "
    done
    echo "${line% }"
    return
  fi
  trap requeue TERM # before the start: no signal may come between
  "${command[@]}" &
  wait "$!"
}

main "$@"
