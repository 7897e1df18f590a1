#!/usr/bin/env bash
#
# Runs boneage_jax on the GPUs of one host.

set -euo pipefail

readonly PYTHON="${PYTHON:-python}"

#######################################
# Prints the manual.
#######################################
usage() {
  cat <<'EOF'
Usage: gpu.sh [OPTIONS] [-- FLAGS OF MAIN]

One process drives all GPUs, which is what most hosts want. Ctrl-C or SIGTERM
lets the run save; the same command goes on from there.

  --gpus=LIST   such as 0,1 (default: all)
  --each        one process per GPU of the list, for hosts on which one process
                does not read films fast enough for all
  --port=PORT   at which they meet (default 12321)
  --dry-run     print the commands, run none

Example:
  gpu.sh --gpus=0,1,2,3 --each -- --config=configs/cascade.py \
    --config.manual_dir=DIR
EOF
}

die() {
  echo "gpu.sh: $* (--help shows the usage)" >&2
  exit 2
}

#######################################
# Runs a command in place of this script, or with --dry-run prints it, quoted.
#######################################
run() {
  [[ -n "${dry_run}" ]] || exec "$@"
  local line='' word
  for word in "$@"; do
    [[ "${word}" =~ ^[A-Za-z0-9_./:=,@%+~-]+$ ]] || word="${word@Q}"
    line+="${word} "
  done
  echo "${line% }"
}

#######################################
# Waits for a process, however many signals come while it saves.
# Returns: its exit status.
#######################################
wait_for() {
  local status
  while true; do
    status=0
    wait "$1" || status=$?
    kill -0 "$1" 2>/dev/null || return "${status}"
  done
}

#######################################
# Runs one process per GPU. Where one fails the others notice and end.
#######################################
each() {
  local ids pids=() index pid failed=0
  IFS=',' read -r -a ids <<<"${gpus}"
  trap 'kill -TERM $(jobs -p) 2>/dev/null || true' TERM INT
  for index in "${!ids[@]}"; do
    local command=(
      env CUDA_VISIBLE_DEVICES="${ids[index]}"
      "${PYTHON}" -m boneage_jax.main --coordinator="localhost:${port}"
      --processes="${#ids[@]}" --process="${index}" "${main_flags[@]}"
    )
    if [[ -n "${dry_run}" ]]; then
      run "${command[@]}"
    else
      run "${command[@]}" &
      pids+=("$!")
    fi
  done
  for pid in "${pids[@]}"; do
    wait_for "${pid}" || failed=$?
  done
  return "${failed}"
}

main() {
  local gpus='' each='' port=12321 dry_run='' main_flags=()
  while (($#)); do
    case "$1" in
      --gpus=?*) gpus="${1#*=}" ;;
      --each) each=1 ;;
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
  [[ "${gpus}" =~ ^([0-9]+(,[0-9]+)*)?$ ]] \
    || die "--gpus takes numbers such as 0,1, got ${gpus}"
  if [[ -n "${each}" ]]; then
    [[ -n "${gpus}" ]] || die '--each needs --gpus=LIST'
    each
  else
    run ${gpus:+env CUDA_VISIBLE_DEVICES="${gpus}"} \
      "${PYTHON}" -m boneage_jax.main "${main_flags[@]}"
  fi
}

main "$@"
