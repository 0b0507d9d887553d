#!/bin/bash
# private-root.sh PACKAGE,… COMMAND…: runs a command where these packages seem to be installed. They were unpacked by tests/run,
# for a system can have only one mail server. What it writes is gone afterwards, and so are its processes.
# Ends with status 99 where this process may not mount.
set -euo pipefail
if [ -z "${PRIVATE_ROOT:-}" ]; then
  unshare --mount mount -t tmpfs none /mnt 2>/dev/null || exit 99
  PRIVATE_ROOT=$PWD/root exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi
mkdir -p "$PRIVATE_ROOT"
mount -t tmpfs none "$PRIVATE_ROOT"
cd "$PRIVATE_ROOT"
mkdir changes work all
mount -t overlay none -o lowerdir=/,upperdir=changes,workdir=work all 2>/dev/null || exit 99
for package in ${1//,/ }; do tar -C "$UNPACKED/$package" -c . | tar -C all -x --keep-directory-symlink; done
shift
mount --rbind /dev all/dev
mount -t proc none all/proc
mkdir -p "all$OLDPWD"
mount --bind "$OLDPWD" "all$OLDPWD"
cd "$OLDPWD"
exec chroot "$PRIVATE_ROOT/all" /bin/sh -c 'cd "$0"; exec "$@"' "$PWD" "$@"
