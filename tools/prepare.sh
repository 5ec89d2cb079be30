#!/bin/sh
# Makes .venv, after making sure that the machine has what the build needs: httpd with apxs, a C compiler, Python with
# its headers and venv. On Debian and Ubuntu, as root or with a sudo that asks nothing, missing packages are installed;
# everywhere else one line says what to install. Of httpd only the program is installed (apache2-bin): no service that
# starts, no port that is taken.
#
# With --browser instead of a directory: Debian's Chromium and its driver, for the tests of the status page; with --load: wrk,
# for the bench. Where they are not to be had, what needs them is skipped or says so, so that is no failure.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

say() { echo "prepare: $*" >&2; }

have_any() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 && return 0
    done
    return 1
}

# The Debian packages for what is not there.
missing_packages() {
    have_any gcc cc || echo gcc libc6-dev
    have_any make || echo make
    have_any apxs apxs2 || echo apache2-dev
    have_any apache2 httpd || echo apache2-bin
    have_any curl || echo curl
    have_any openssl || echo openssl
    have_any "${PYTHON:-python3}" python3 || echo python3 python3-venv python3-dev
}

become_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

can_become_root() { become_root true 2>/dev/null; }

# What to type on this machine, for those who have to do it themselves.
advice() {
    if have_any apt-get; then
        echo "sudo apt-get install $*"
    elif have_any dnf yum; then
        echo "sudo dnf install httpd httpd-devel mod_ssl mod_http2 gcc make curl openssl redhat-rpm-config python3 python3-devel"
    elif have_any pacman; then
        echo "sudo pacman -S --needed apache gcc make curl openssl python"
    else
        echo "install Apache httpd 2.4 with apxs, gcc, make, curl, openssl, and Python 3.10 or later with its headers" \
             "(Linux only)"
    fi
}

install_debian() {
    say "installing $*"
    become_root apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null &&
        become_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends "$@" >/dev/null
}

install() {
    if have_any apt-get && can_become_root; then
        install_debian "$@"
        return
    fi
    say "something is missing on this machine. Run this, then try again: $(advice "$@")"
    exit 1
}

# "python3.11-venv" belongs to /usr/bin/python3.11 alone; of another Python nobody but its owner can say.
python_package() {
    case $1 in
        /usr/bin/python3) echo "python3-$2" ;;
        /usr/bin/python3.*) echo "$(basename "$1")-$2" ;;
        *)  say "$1 lacks $2: complete that Python, or name another one: make PYTHON=/path/to/python3"
            exit 1 ;;
    esac
}

python_packages() {
    for piece in $("$1" tools/choose_python.py --missing "$1"); do
        case $piece in
            venv) python_package "$1" venv ;;
            headers) python_package "$1" dev ;;
        esac
    done
}

# Debian's only: Ubuntu's packages of these names fetch something else from elsewhere.
install_browser() {
    have_any chromium && have_any chromedriver && return
    if grep -qx 'ID=debian' /etc/os-release 2>/dev/null && can_become_root; then
        install_debian chromium chromium-driver && return
    fi
    say "no chromium with chromedriver: the tests of the status page in a browser will be skipped"
}

install_load() {
    have_any wrk && return
    if have_any apt-get && can_become_root; then
        install_debian wrk && return
    fi
    say "no wrk: nothing can be measured until it is installed"
}

main() {
    if [ "$(uname -s)" != Linux ]; then
        say "mod_wsgid runs on Linux, not on $(uname -s)"
        exit 1
    fi
    packages=$(missing_packages)
    [ -z "$packages" ] || install $packages
    python=$("$(command -v python3 || echo "${PYTHON:-python3}")" tools/choose_python.py)
    packages=$(python_packages "$python")
    [ -z "$packages" ] || install $packages
    # What a user has put into it stays, unless another Python is asked for.
    if [ "$(cat "$venv/.python" 2>/dev/null)" = "$python" ]; then
        "$python" -m venv "$venv"
    else
        "$python" -m venv --clear "$venv"
    fi
    echo "$python" > "$venv/.python"
}

case $venv in
    --browser) install_browser ;;
    --load) install_load ;;
    *) main ;;
esac
