#!/bin/sh
# Run a script with the Python of this machine that suits Runstone best: 3.11 or later, able to make a venv, and quick.

without_venv=
for python in python3.14 python3.13 python3.12 python3.11 python3 python; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        quickest=$("$python" "${0%/*}/quickest.py") || quickest=$python
        exec "$quickest" "$@"
    fi
    without_venv=${without_venv:-$python}
done

if [ -n "$without_venv" ]; then
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "Python $version cannot make a virtual environment here. Install that part, such as with:" \
        "apt install python$version-venv" >&2
else
    echo "Runstone needs Python 3.11 or later, and there is none here. Install one, such as with:" \
        "apt install python3 python3-venv" >&2
fi
exit 1
