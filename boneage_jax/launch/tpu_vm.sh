#!/usr/bin/env bash
#
# Runs boneage_jax on a Cloud TPU slice of any number of hosts.
#
# Needs gcloud, logged in, with a project set. The flags were checked against
# gcloud 528; no slice was at hand, so what only a slice shows is untried: the
# states a preemption goes through and the software on a fresh host.

set -euo pipefail

readonly POLL_SECONDS="${POLL_SECONDS:-20}"
readonly STOP_SECONDS=300  # for saving, before the slice is deleted

#######################################
# Prints the manual.
#######################################
usage() {
  cat <<'EOF'
Usage: tpu_vm.sh COMMAND --name=NAME --zone=ZONE [OPTIONS] [-- FLAGS OF MAIN]

  start   Make the slice unless it is there, install this checkout on all its
          hosts and start the run in the background. After a preemption the
          same command makes a new slice and goes on from the last checkpoint.
  tail    Follow what the run prints.
  stop    Let the run save, then delete the slice.

  --name=NAME        of the queued resource and of its node
  --zone=ZONE        such as us-west4-a
  --workdir=URL      gs://BUCKET/FOLDER, where the run writes (start needs it)
  --archive=URL      gs://BUCKET/FOLDER of the RSNA archive, copied to the hosts
  --type=TYPE        accelerator type (default v5litepod-8)
  --runtime=VERSION  of the hosts (default v2-alpha-tpuv5-lite)
  --on-demand        not a spot slice
  --dry-run          print the commands, run none

Example:
  tpu_vm.sh start --name=bone --zone=us-west4-a --type=v5litepod-16 \
    --workdir=gs://BUCKET/cascade --archive=gs://BUCKET/archive \
    -- --config=configs/cascade.py --config.assessor.net.dtype=bfloat16
EOF
}

die() {
  echo "tpu_vm.sh: $* (--help shows the usage)" >&2
  exit 2
}

#######################################
# Runs a command, or with --dry-run prints it, quoted for a shell.
#######################################
run() {
  if [[ -z "${dry_run}" ]]; then
    "$@"
    return
  fi
  local line='' word
  for word in "$@"; do
    [[ "${word}" =~ ^[A-Za-z0-9_./:=,@%+~-]+$ ]] || word="${word@Q}"
    line+="${word} "
  done
  echo "${line% }"
}

tpus() {
  run gcloud compute tpus "$@" --zone="${zone}"
}

#######################################
# Runs a command on all hosts, or on one.
# Arguments: which (all, or a number from 0), the command.
#######################################
on_hosts() {
  tpus tpu-vm ssh "${name}" --worker="$1" --command="$2"
}

#######################################
# Prints the state of the queued resource, nothing where there is none.
#######################################
state() {
  tpus queued-resources list --filter="name ~ /${name}$" \
    --format='value(state.state)'
}

create() {
  tpus queued-resources create "${name}" --node-id="${name}" \
    --accelerator-type="${type}" --runtime-version="${runtime}" ${spot}
}

delete() {
  tpus queued-resources delete "${name}" --force --quiet
}

#######################################
# Makes the slice where there is none or it was preempted; waits for it.
#######################################
obtain() {
  if [[ -n "${dry_run}" ]]; then
    state
    create
    return
  fi
  local now before=''
  now="$(state)"
  if [[ "${now}" =~ ^(FAILED|SUSPENDING|SUSPENDED)$ ]]; then
    echo "${name} is ${now}: making it anew."
    delete
    now=''
  fi
  [[ -n "${now}" ]] || create
  while now="$(state)" && [[ "${now}" != ACTIVE ]]; do
    if [[ "${now}" =~ ^(FAILED|SUSPENDING|SUSPENDED)$ ]]; then
      die "${name} is ${now}; the same command tries again"
    fi
    [[ "${now}" == "${before}" ]] || echo "${name}: ${now:-asked for}"
    before="${now}"
    sleep "${POLL_SECONDS}"
  done
}

start() {
  [[ "${workdir}" == gs://* ]] \
    || die 'start needs --workdir=gs://...: the disks go with the slice'
  local root tarball get_archive=':' flags
  root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
  [[ -f "${root}/setup.py" ]] || die "${root} is no checkout of boneage_jax"
  tarball="${TMPDIR:-/tmp}/boneage_jax-${name}.tar.gz"
  if [[ -n "${archive}" ]]; then
    get_archive="gcloud storage rsync --recursive ${archive@Q} ~/archive"
    main_flags+=('--config.manual_dir=~/archive')
  fi
  # --distributed is right for one host, too.
  main_flags=(--distributed --workdir="${workdir}" "${main_flags[@]}")
  flags="$(printf '%q ' "${main_flags[@]}")"

  obtain
  run tar -czf "${tarball}" -C "${root}" --exclude=__pycache__ \
    setup.py README.md boneage_jax configs tfds_rsna
  tpus tpu-vm scp "${tarball}" "${name}:boneage_jax.tar.gz" --worker=all
  # The hosts' own Python may be older than 3.11; uv brings one along.
  on_hosts all "set -e; mkdir -p boneage_jax; cd boneage_jax; \
if [ -e pid ] && kill -0 \$(cat pid) 2>/dev/null; then \
echo 'Runs already.'; exit 0; fi; \
tar -xzf ../boneage_jax.tar.gz; \
python3 -m pip install --quiet --user uv; \
python3 -m uv venv --quiet --allow-existing --python=3.11 venv; \
python3 -m uv pip install --quiet --python=venv/bin/python -e '.[tpu,gs]'; \
mkdir -p ~/archive; ${get_archive}; \
setsid nohup venv/bin/python -m boneage_jax.main ${flags}\
>>log 2>&1 </dev/null & echo \$! >pid"
  [[ -n "${dry_run}" ]] || echo "Started; 'tpu_vm.sh tail' shows the output."
}

stop() {
  # A preempted slice has no hosts left to ask.
  on_hosts all "cd boneage_jax; kill -TERM \$(cat pid); \
timeout ${STOP_SECONDS} tail --pid=\$(cat pid) -f /dev/null" \
    || echo 'The hosts did not answer.' >&2
  delete
}

main() {
  local command='' name='' zone='' workdir='' archive='' dry_run=''
  local type='v5litepod-8' runtime='v2-alpha-tpuv5-lite' spot='--spot'
  local main_flags=()
  while (($#)); do
    case "$1" in
      start | tail | stop) command="$1" ;;
      --name=?*) name="${1#*=}" ;;
      --zone=?*) zone="${1#*=}" ;;
      --workdir=?*) workdir="${1#*=}" ;;
      --archive=gs://?*) archive="${1#*=}" ;;
      --type=?*) type="${1#*=}" ;;
      --runtime=?*) runtime="${1#*=}" ;;
      --on-demand) spot='' ;;
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
  [[ -n "${command}" ]] || die 'expected start, tail or stop'
  [[ -n "${name}" ]] || die 'expected --name=NAME'
  [[ -n "${zone}" ]] || die 'expected --zone=ZONE'
  case "${command}" in
    start) start ;;
    tail) on_hosts 0 'tail -n 50 -F boneage_jax/log' ;;  # process 0 speaks
    stop) stop ;;
  esac
}

main "$@"
