#!/usr/bin/env bash
# Is this callback ours, whole and fresh?
# WEBHOOK_SECRET=whsec_… verify.sh ID TIMESTAMP SIGNATURE < body
#
# To look at a callback by hand: other users of the machine see openssl's arguments.
set -euo pipefail

refuse() { echo "refused: $1" >&2; exit 1; }

id=$1 timestamp=$2 signature=$3
[[ $timestamp =~ ^[0-9]{1,12}$ ]] || refuse "sent too long ago, or not yet"
age=$(($(date +%s) - 10#$timestamp))
((age >= -300 && age <= 300)) || refuse "sent too long ago, or not yet"

key=$(openssl base64 -d -A <<<"${WEBHOOK_SECRET#whsec_}" | od -An -v -tx1 | tr -d ' \n')
[[ ${#key} == 64 ]] || refuse "this is no secret of an endpoint"

# The body goes through a pipe: a variable of the shell would lose its last line breaks.
expected=v1,$({ printf '%s.%s.' "$id" "$timestamp"; cat; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
# While a secret is rotated there are two signatures; one that fits is enough.
[[ " $signature " == *" $expected "* ]] || refuse "no signature fits"
echo verified
