#!/bin/sh
# Watches for the notice that a spot (preemptible) machine is to be taken away, and puts all jobs of the store to sleep
# then. Run it beside them, as the same user:
#
#   spot-watch.sh aws|gcp|azure &
#
# After the notice: `dormouse checkpoint --stop` for each job, then AFTER, if it is set: a command, by /bin/sh, that
# carries the store to where the next machine finds it (rsync, or `dormouse push`). Exit status 0 when all that was done.
#
#   aws     /latest/meta-data/spot/instance-action           404 until the notice; about 2 minutes before the end
#   gcp     /computeMetadata/v1/instance/preempted           FALSE, then TRUE; 30 seconds before the end
#   azure   /metadata/scheduledevents                        an event Preempt that names this machine (a scale set's machines
#                                                            see each other's); at least 30 seconds before the end
#
# METADATA is the address of the service, SECONDS_BETWEEN how often it is asked. That it cannot be asked is said once.

set -u
: "${METADATA:=http://169.254.169.254}"
: "${SECONDS_BETWEEN:=5}"

# The address is this machine's own: no proxy knows it.
ask() {
    curl --silent --fail --noproxy '*' --max-time 4 "$@"
}

# Whether this machine is to be taken away: 0 if it is, 1 if not, 2 if that cannot be asked.
noticed() {
    case $1 in
    aws)
        token=$(ask --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$METADATA/latest/api/token") ||
            return 2
        answer=$(ask --header "X-aws-ec2-metadata-token: $token" "$METADATA/latest/meta-data/spot/instance-action")
        case $? in
        0) ;;
        22) return 1 ;; # Not found: there is no notice.
        *) return 2 ;;
        esac
        echo "$answer" | grep -E -q '"action" *: *"(terminate|stop|hibernate)"'
        ;;
    gcp)
        answer=$(ask --header 'Metadata-Flavor: Google' "$METADATA/computeMetadata/v1/instance/preempted") || return 2
        [ "$answer" = TRUE ]
        ;;
    azure)
        name=$(ask --header 'Metadata: true' "$METADATA/metadata/instance/compute/name?api-version=2021-02-01&format=text") ||
            return 2
        events=$(ask --header 'Metadata: true' "$METADATA/metadata/scheduledevents?api-version=2020-07-01") || return 2
        # An event a line; of those, the machines.
        echo "$events" | tr '\n{}' ' \n\n' | grep -E '"EventType" *: *"Preempt"' |
            grep -E -o '"Resources" *: *\[[^]]*\]' | grep -F -q "\"$name\""
        ;;
    esac
}

case ${1-} in
aws | gcp | azure) ;;
*)
    echo "usage: spot-watch.sh aws|gcp|azure" >&2
    exit 2
    ;;
esac
command -v curl >/dev/null || {
    echo "spot-watch.sh needs curl" >&2
    exit 2
}

told=no
while :; do
    noticed "$1"
    case $? in
    0) break ;;
    1) told=no ;;
    *)
        if [ "$told" = no ]; then
            echo "spot-watch.sh: $METADATA does not answer as the metadata service of $1 does; asking on" >&2
        fi
        told=yes
        ;;
    esac
    sleep "$SECONDS_BETWEEN"
done

# All at once: the time is short.
jobs=$(dormouse ps | awk 'NR > 1 { print $1 }')
status=0
children=
for job in $jobs; do
    dormouse checkpoint --stop "$job" &
    children="$children $!"
done
for child in $children; do
    wait "$child" || status=1
done
if [ -n "${AFTER-}" ]; then
    sh -c "$AFTER" || status=1
fi
exit "$status"
