# debian.sh: sourced by the scripts that need Debian's packages without touching the system: a private apt state per suite with
# an empty dpkg status, the mirror taken from the system's own apt sources; packages are only unpacked, never installed.
#
#   debs SUITE FOLDER PACKAGE[=VERSION]...   download just these (no dependencies), unpack into FOLDER, list them in FOLDER/versions
#   closure SUITE FOLDER PACKAGE...          the same with all they depend on
#   known SUITE                              print the names of all packages
#   show SUITE PACKAGE                       print what is known of one
#   orig SUITE SOURCE VERSION SHA256         print the folder with the source package's upstream tree, unpatched; VERSION is the
#                                            upstream one, SHA256 that of SOURCE_VERSION.orig.tar.*: this is the pin
# $CACHE is where all of it is kept. $ARCHES names other architectures, whose packages are NAME:ARCH.
set -euo pipefail
shopt -s inherit_errexit

die() { echo "${0##*/}: $*" >&2; exit 1; }
retry() { local i; for i in 1 2 3 4; do "$@" && return 0; echo "retry $i: $*" >&2; sleep $((i*5)); done; return 1; }

# The mirror: the first Debian (not third-party) one in the system's apt sources
mirror() {
  local m=${MIRROR:-$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)}
  m=${m:-$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .* main.*/\2/p' /etc/apt/sources.list 2>/dev/null | head -1)}
  [ -n "$m" ] || die "no Debian mirror in apt's sources; set MIRROR"
  echo "$m"
}

# Makes the private apt state of a suite, or freshens one older than a day; prints its apt.conf. It holds a lock meanwhile.
state() {
  local suite=$1 arch a=$CACHE/apt/$1 m keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  for arch in ${ARCHES:-}; do a=$a-$arch; done
  m=$(mirror)
  mkdir -p "$a"/{state/lists/partial,cache/archives/partial,empty}
  : > "$a/state/status"
  printf '%s\n' "deb [signed-by=$keyring check-valid-until=no] $m $suite main" \
    "deb-src [signed-by=$keyring check-valid-until=no] $m $suite main" > "$a/sources.list"
  cat > "$a/apt.conf" <<C
Dir::State "$a/state/";
Dir::State::status "$a/state/status";
Dir::Cache "$a/cache/";
Dir::Etc::sourcelist "$a/sources.list";
Dir::Etc::sourceparts "$a/empty/";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$a/empty/";
APT::Architecture "amd64";
APT::Architectures { "amd64"; $(for arch in ${ARCHES:-}; do printf '"%s"; ' "$arch"; done)};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::By-Hash "force";
Acquire::Retries "3";
C
  (
    flock 9
    if [ -z "$(find "$a/updated" -mtime -1 2>/dev/null)" ]; then
      APT_CONFIG=$a/apt.conf retry apt-get update -qq >&2 && touch "$a/updated"
    fi
  ) 9> "$a/lock"
  echo "$a/apt.conf"
}

debs() {
  local suite=$1 folder=$2 conf part; shift 2
  conf=$(state "$suite")
  mkdir -p "$folder"
  part=$(mktemp -d "$folder/debs.XXXX")
  ( cd "$part" && APT_CONFIG=$conf retry apt-get download -qq "$@" >&2 )
  unpack "$part" "$folder"
}

closure() {
  local suite=$1 folder=$2 conf part; shift 2
  conf=$(state "$suite")
  mkdir -p "$folder"
  part=$(mktemp -d "$folder/debs.XXXX")
  mkdir "$part/partial"
  APT_CONFIG=$conf retry apt-get install -qq -y --download-only -o "Dir::Cache::archives=$part/" "$@" >&2
  unpack "$part" "$folder"
}

unpack() {
  local part=$1 folder=$2 d
  for d in "$part"/*.deb; do dpkg-deb -x "$d" "$folder"; dpkg-deb -W "$d"; done >> "$folder/versions"
  sort -o "$folder/versions" "$folder/versions"
  rm -rf "$part" "$folder"/usr/share/{man,locale,lintian,info}
}

known() { local conf; conf=$(state "$1"); APT_CONFIG=$conf apt-cache pkgnames; }

show() { local conf; conf=$(state "$1"); APT_CONFIG=$conf apt-cache show "$2"; }

orig() {
  local suite=$1 name=$2 version=$3 sha=$4 folder=$CACHE/sources/$2-$3 conf part tar
  [ -e "$folder" ] && { echo "$folder"; return; }
  conf=$(state "$suite")
  mkdir -p "$CACHE/sources"
  part=$(mktemp -d "$CACHE/sources/part.XXXX")
  ( cd "$part" && APT_CONFIG=$conf retry apt-get source -qq --download-only --tar-only "$name" >&2 )
  tar=$(ls "$part/${name}_$version".orig.tar.* 2>/dev/null | grep -v '\.asc$') ||
    die "$suite has no $name $version any more, but $(ls "$part"): change the pin"
  echo "$sha  $tar" | sha256sum --check --quiet >&2 || die "$tar is not the one that was pinned: $(sha256sum < "$tar")"
  mkdir "$part/tree"
  tar -xf "$tar" -C "$part/tree" --strip-components=1 --no-same-owner
  mv "$part/tree" "$folder" && rm -rf "$part"
  echo "$folder"
}
