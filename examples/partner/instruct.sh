#!/usr/bin/env bash
# Give one instruction and follow it to its outcome. Needs jq and amqp-tools (RabbitMQ's C client).
#
#   BROKER_URL=amqp://partner.acme:…@host:5672/vhost \
#   ./instruct.sh deposit invoice-4711 '{"wallet_id": "…", "amount": 25000, "currency": "KES"}'
#
# Exit code 0: it succeeded; 1: it was refused or rejected; 2: nothing is known of it yet.
set -euo pipefail

type=$1 key=$2 data=$3
message=$(jq -cn --arg type "$type" --arg key "$key" --argjson data "$data" \
    '{version: 1, idempotency_key: $key, type: $type, data: $data}')

if ! [[ $BROKER_URL =~ ^amqp://(partner\.([^:]+)):([^@]+)@([^:/]+):([0-9]+)/(.+)$ ]]; then
    echo "BROKER_URL is not amqp://partner.name:password@host:port/vhost" >&2
    exit 2
fi
partner=${BASH_REMATCH[2]}
# The password goes into a file: what is on a command line, everybody on the machine can read.
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
printf 'username:%s\npassword:%s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}" >"$secret"
broker=(--authfile="$secret" --server="${BASH_REMATCH[4]}" --port="${BASH_REMATCH[5]}"
    --vhost="${BASH_REMATCH[6]}") # For amqps add --ssl and --cacert=….

# amqp-publish does not hear the broker's confirm. The receipt tells more, and until it is
# there the same message is published again: the key makes that safe.
publish() {
    amqp-publish "${broker[@]}" --exchange="in.$partner" --routing-key=any \
        --content-type=application/json --persistent --body="$message"
}

# The event is taken off the queue when `cat` has ended well.
next_event() {
    timeout 10 amqp-consume "${broker[@]}" --queue="out.$partner" --count=1 cat
}

publish
for _ in 1 2 3; do
    while event=$(next_event); do
        jq -r '"\(.type) \(.data | tojson)"' <<<"$event"
        case $(jq -r --arg key "$key" 'select(.data.idempotency_key == $key).type' <<<"$event") in
            instruction.succeeded) exit 0 ;;
            instruction.rejected | instruction.refused) exit 1 ;;
        esac
    done
    publish
done
exit 2
