#!/bin/sh
# A worker in the shell, with curl and sed. It computes checksums of texts.
#
#   HANDLERS=none npm start
#   sh examples/worker.sh
#   curl localhost:8080/enqueue -H content-type:application/json \
#     -d '{"type":"text.sum","payload":"tea"}'
#
# After SIGTERM it finishes the task in hand, gives back a task that comes later, and ends.

url=${RINGQ_URL:-http://localhost:8080}
lease_ms=${LEASE_MS:-30000} # At least 6000: `sleep` takes whole seconds.
stopping=
trap 'stopping=1' TERM INT
message_file=$(mktemp)
trap 'rm -f "$message_file"' EXIT

# Reads a claim as JSON, and prints the result as JSON. After a failure, stderr is the message.
# sed is no JSON parser: here a payload is a text without quotes, backslashes and line breaks.
run() {
  payload=$(sed -n 's/.*"payload":"\([^"\\]*\)".*/\1/p')
  [ -n "$payload" ] || { echo 'The payload must be a text without "quotes".' >&2; return 1; }
  printf '%s' "$payload" | cksum | sed 's/ .*//'
}

# post PATH JSON [OPTION...]: posts, and prints the answer. It fails if the status is not 2xx.
post() {
  path=$1 body=$2
  shift 2
  printf '%s' "$body" | curl -sS --fail --max-time 20 "$@" \
    -H content-type:application/json --data-binary @- "$url$path"
}

# extend TOKEN SECONDS: extends the lease again and again, until the claim is lost.
extend() {
  while sleep "$2"; do
    [ "$(post "/claims/$1/extend" '{}' -o /dev/null -w '%{http_code}')" != 409 ] || return
  done
}

# settle TOKEN OUTCOME JSON: while the server is away it tries again, which is safe, for a minute.
settle() {
  post "/claims/$1/$2" "$3" --retry 6 --retry-connrefused && echo
}

# Makes a JSON text of stdin. It keeps printable ASCII only.
json_text() {
  text=$(LC_ALL=C tr -cd '\n\40-\176' | sed 's/[\\"]/\\&/g')
  printf '"%s"' "$(printf '%s' "$text" | tr '\n' ' ')"
}

wanted='{"types":["text.sum"],"lease_ms":'$lease_ms',"wait_ms":5000,"worker":"sh-'$$'"}'
# The answer begins with the token and the lease, so that no payload can look like them.
start='s/^{"claims":\[{"token":"\([0-9a-z.-]*\)","lease_ms":\([0-9]*\),.*'

while [ -z "$stopping" ]; do
  claims=$(post /claims "$wanted") || { sleep 2; continue; }
  token=$(printf '%s' "$claims" | sed -n "$start/\1/p")
  granted_ms=$(printf '%s' "$claims" | sed -n "$start/\2/p")
  [ -n "$token" ] || continue
  [ -z "$stopping" ] || { settle "$token" released '{}'; break; }
  extend "$token" "$((granted_ms > 3000 ? granted_ms / 3000 : 1))" >/dev/null 2>&1 &
  extending=$!
  if result=$(printf '%s' "$claims" | run 2>"$message_file"); then
    settle "$token" done "{\"result\":$result}"
  else
    settle "$token" failed "{\"message\":$(json_text <"$message_file")}"
  fi
  kill "$extending"
done
