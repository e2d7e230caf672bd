#!/bin/sh
# fill-in.sh TEMPLATE FILE COMMAND…: write FILE as TEMPLATE with each @NAME@ replaced by the
# environment's NAME, then become COMMAND. For settings files that hold passwords and cannot read
# the environment themselves. FILE belongs in memory (tmpfs).
set -eu
umask 077
template=$1 file=$2
shift 2
awk '{
    filled = ""
    while (match($0, /@[A-Z_]+@/)) {
        name = substr($0, RSTART + 1, RLENGTH - 2)
        # Nothing that could mean something in JSON or in an access list.
        if (ENVIRON[name] !~ /^[A-Za-z0-9_.~-]+$/) {
            print "Error: " name " is empty, or not of letters, digits and _.~- alone" > "/dev/stderr"
            exit 1
        }
        filled = filled substr($0, 1, RSTART - 1) ENVIRON[name]
        $0 = substr($0, RSTART + RLENGTH)
    }
    print filled $0
}' "$template" > "$file"
exec "$@"
