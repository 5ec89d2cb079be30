#!/bin/sh
# Tries the two commands of the README, `make run` and `make test`, on machines that have nothing: fresh installations of
# Debian in directories (debootstrap), as root and as ordinary users. .ci/run cannot have this; run it before a release.
#
#   tools/bare_machines.sh                                   bookworm, trixie and sid, as each kind of user
#   tools/bare_machines.sh trixie sid                        these only
#   TESTS=tests/unit USERS="root sudo" tools/bare_machines.sh trixie
#
#   TESTS    what `make test` runs           (default: a selection that takes a minute or two; "" for everything)
#   USERS    root: root; sudo: an ordinary user with a sudo that asks nothing; user: one without, for whom root installs
#            exactly the packages that `make run` asks for       (default: "root sudo user")
#   FOLDER   where the checkout lies, below the user's home      (default: "src/my mod_wsgid"; spaces are no problem)
#   MIRROR   where Debian comes from         (default: the one of this machine's apt)
#   APT_SETTINGS   further lines for apt there ('Acquire::Check-Valid-Until "false";' if the mirror is an old copy)
#   PLACE    where everything is kept        (default: /var/tmp/wsgid-bare-machines; remove it when you are done)
#
# Needs root, debootstrap, and a Debian or Ubuntu that may mount. What pip and apt need to know here (proxies, mirrors,
# certificates, local packages) is taken over when it runs. Each machine has its own mounts and processes, which end with
# it; the network is this machine's, so ports on the loopback are shared.
#
# Prints a line for each step, and where its output is. The exit code is 1 if a step failed.
set -eu
cd "$(dirname "$0")/.."
TESTS=${TESTS-"tests/unit/cli tests/unit/native tests/wire tests/httpd/test_pep3333.py tests/httpd/test_bodies.py
    tests/httpd/test_groups.py tests/httpd/test_serve.py tests/httpd/test_ordinary_user.py"}
USERS=${USERS:-root sudo user}
FOLDER=${FOLDER:-src/my mod_wsgid}
PLACE=${PLACE:-/var/tmp/wsgid-bare-machines}
PORT=${PORT:-18000}
APT_SETTINGS=${APT_SETTINGS:-}
failures=0

say() { echo "$*"; }

mirror() {
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian //p' | head -n 1
}

# ---------------------------------------------------------------------------------------------- the machine

# $1: the distribution. What debootstrap makes is kept; each try gets a copy.
make_base() {
    base=$PLACE/$1
    [ ! -e "$base/.complete" ] || return 0
    say "$1: debootstrap from $MIRROR"
    rm -rf "$base"
    debootstrap --variant=minbase "$1" "$base" "$MIRROR" > "$PLACE/$1.debootstrap.log" 2>&1
    touch "$base/.complete"
}

# $1: the distribution, $2: the directory.
make_machine() {
    rm -rf "$2"
    cp -a --reflink=auto "$PLACE/$1" "$2"
    cp -L /etc/resolv.conf /etc/hosts "$2/etc/"
    { apt-config dump | grep -E '^Acquire::([a-z]+::(Proxy|CAInfo)|Check-Valid-Until)' || true; echo "$APT_SETTINGS"; } \
        > "$2/etc/apt/apt.conf.d/90machine"
    python3 tools/pip_settings.py "$2/etc/pip.conf" > "$2/.binds"
    inside "$2" root / "apt-get -q update && apt-get -q -y install --no-install-recommends make adduser sudo &&
        adduser --quiet --disabled-password --gecos '' someone"
}

# $1: the machine, $2: the user, $3: the folder, $4: the command. Its processes and mounts end with it.
inside() {
    unshare --mount --pid --fork --kill-child sh -c '
        machine=$1 user=$2 folder=$3 command=$4
        mount -t proc proc "$machine/proc"
        mount --rbind /dev "$machine/dev"
        mount -t tmpfs -o mode=755 tmpfs "$machine/run"
        while read -r path place; do
            mkdir -p "$machine${place%/*}"
            if [ -d "$path" ]; then mkdir -p "$machine$place"; else touch "$machine$place"; fi
            mount --bind "$path" "$machine$place"
        done < "$machine/.binds"
        home=/home/$user
        [ "$user" != root ] || home=/root
        # Not exec: this shell is process 1 of the machine, and reaps.
        chroot "$machine" setpriv --reuid "$user" --regid "$user" --init-groups env -i $ENVIRONMENT \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            HOME="$home" USER="$user" sh -c "cd \"\$1\" && eval \"\$2\"" sh "$folder" "$command"
        exit $?' sh "$@"
}

# $1: the machine, $2: the user, $3: the home, where the folder is: the files of this checkout, as they are now.
copy_checkout() {
    mkdir -p "$1$3/$FOLDER"
    git ls-files -z --cached --others --exclude-standard |
        tar -c --null -T - --ignore-failed-read | tar -x --no-same-owner -C "$1$3/$FOLDER"
    inside "$1" root / "chown -R $2: $3"
}

# ---------------------------------------------------------------------------------------------- the steps

# $1: the machine's name, $2: the step, the rest: a command whose output goes to a file.
step() {
    log=$PLACE/$1.$(echo "$2" | tr " " -).log
    title="$1: $2"
    shift 2
    began=$(date +%s)
    if "$@" > "$log" 2>&1; then
        say "$title: ok, $(($(date +%s) - began)) s$(sed -n 's/^\([0-9]* passed.*\)/: \1/p' "$log" | tail -n 1)"
    else
        failures=$((failures + 1))
        say "$title: FAILED, see $log"
        tail -n 5 "$log" | sed 's/^/    /'
        return 1
    fi
}

# What a reader of the README does: start it, look at it, press Ctrl-C. Ctrl-C goes to all processes of the terminal, here of
# the session; a shell without a terminal starts what is in the background with SIGINT ignored.
RUN='env --default-signal=INT setsid make run PORT='$PORT' & run=$!
    answer=
    for second in $(seq 600); do
        kill -0 $run 2>/dev/null || break
        if answer=$(curl -fsS http://localhost:'$PORT'/ 2>/dev/null); then break; fi
        sleep 1
    done
    echo "answer: $answer"
    kill -INT -$run
    wait $run || true
    case $answer in *[Hh]ello*) ;; *) exit 1 ;; esac
    ! curl -fsS http://localhost:'$PORT'/ >/dev/null 2>&1'

# As on the README; then no file is left that this user's `make clean` cannot remove.
INSTALL='sudo -n make install && (cd / && pywsgid version && pywsgid module-config) &&
    test -z "$(find . -user root)" && make clean && test ! -e build &&
    sudo -n make uninstall && ! command -v pywsgid'

# $1: the machine, $2: the folder. Root types what the message asks for, and nothing else.
install_what_is_asked_for() {
    asked=$(inside "$1" someone "$2" "make run" 2>&1 | tee /dev/stderr |
        sed -n 's/^prepare: something is missing on this machine.*: sudo \(apt-get install .*\)/\1/p')
    if [ -z "$asked" ]; then
        echo "no line that says what to install"
        return 1
    fi
    inside "$1" root / "$(echo "$asked" | sed 's/install/install -q -y --no-install-recommends/')"
}

# $1: the distribution, $2: root, sudo or user.
try() {
    name=$1-$2
    machine=$PLACE/$name
    user=someone home=/home/someone
    [ "$2" != root ] || user=root home=/root
    step "$name" "a bare machine" make_machine "$1" "$machine" || return 0
    [ "$2" != sudo ] || echo "someone ALL=(ALL) NOPASSWD: ALL" > "$machine/etc/sudoers.d/someone"
    copy_checkout "$machine" "$user" "$home"
    if [ "$2" = user ]; then
        step "$name" "what is missing" install_what_is_asked_for "$machine" "$home/$FOLDER" || return 0
    fi
    step "$name" "make run" inside "$machine" "$user" "$home/$FOLDER" "$RUN" || return 0
    step "$name" "make test" inside "$machine" "$user" "$home/$FOLDER" "make test TESTS='$TESTS'" || return 0
    [ "$2" != sudo ] ||
        step "$name" "make install" inside "$machine" "$user" "$home/$FOLDER" "$INSTALL" || return 0
    rm -rf "$machine"
}

main() {
    if [ "$(id -u)" != 0 ] || ! command -v debootstrap > /dev/null; then
        echo "bare_machines: needs root, and debootstrap (apt-get install debootstrap)" >&2
        exit 2
    fi
    TESTS=$(echo "${TESTS:-tests}" | tr -s ' \n' ' ')
    MIRROR=${MIRROR:-$(mirror)}
    # No value may have a space.
    ENVIRONMENT=$(env | grep -E '^([a-z]+_proxy|[A-Z]+_PROXY)=[^ ]*$' || true)
    export ENVIRONMENT
    mkdir -p "$PLACE"
    for distribution in ${*:-bookworm trixie sid}; do
        make_base "$distribution"
        for kind in $USERS; do
            try "$distribution" "$kind"
        done
    done
    [ "$failures" = 0 ]
    exit
}

# One line, so that the whole file has been read by then: it may be edited while it runs.
main "$@"
