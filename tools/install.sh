#!/bin/sh
# Puts the built module where Apache looks for it, or takes it away again; `make install` and `make uninstall` call it.
#
#   LIBEXECDIR/mod_wsgid.so     what LoadModule names
#   LIBEXECDIR/pywsgid/         the daemon: the module looks for pywsgid/daemon/boot.py beside itself
#   PREFIX/bin/pywsgid          the command line
#   mods-available/wsgid.load, wsgid.conf   on Debian, for a2enmod
#   conf.modules.d/10-wsgid.conf            on Fedora and RHEL
#
# DESTDIR goes before every path that is written, and into no file. A wsgid.conf that was changed stays as it is.
# INSTALL_PYTHON is the interpreter of the command, and of groups that name none.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr/local}
apxs=${APXS:-$(command -v apxs || command -v apxs2)}
modules=$("$apxs" -q LIBEXECDIR)
settings=$("$apxs" -q SYSCONFDIR)
command=$PREFIX/bin/pywsgid
# By what the command is known to be ours.
MARK="The command line of mod_wsgid, installed by make install"

say() { echo "$1: $2"; }

load_line() {
    grep -v '^LoadModule' conf/wsgid.load
    echo "LoadModule wsgid_module \"$modules/mod_wsgid.so\""
}

# Prints the file to install: what `make` built, or a build for another interpreter in $1.
module_for_python() {
    if grep -qxF "#define WSGID_PYTHON \"$INSTALL_PYTHON\"" build/mod_wsgid.so.d/built_with.h; then
        echo build/mod_wsgid.so
    else
        PYTHONDONTWRITEBYTECODE=1 .venv/bin/python setup.py -q build_module --build-temp "$1" \
            --output "$1/mod_wsgid.so" --python "$INSTALL_PYTHON" >&2
        echo "$1/mod_wsgid.so"
    fi
}

# Installs $1 as $2 in one step. httpd and daemons may run from the file that was there: they keep it, and those that start
# meanwhile find the one or the other.
put() {
    install -D -m 644 "$1" "$2.new"
    mv -f "$2.new" "$2"
}

# Removes the files of the installed package that the list $1 does not name: those of another version.
remove_others() {
    (cd "$DESTDIR$modules" && find pywsgid -type f) | grep -vxF -f "$1" | while read -r file; do
        rm -f "$DESTDIR$modules/$file"
    done
    find "$DESTDIR$modules/pywsgid" -depth -type d -empty -exec rmdir {} +
}

install_module() {
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    built=$(module_for_python "$temporary")
    find pywsgid \( -name '*.py' -o -name '_native*.so' \) ! -path 'pywsgid/native/*' > "$temporary/files"
    while read -r file; do
        put "$file" "$DESTDIR$modules/$file"
    done < "$temporary/files"
    remove_others "$temporary/files"
    find "$DESTDIR$modules/pywsgid" -type d -exec chmod 755 {} +
    put "$built" "$DESTDIR$modules/mod_wsgid.so"
    say installed "$DESTDIR$modules/mod_wsgid.so, $DESTDIR$modules/pywsgid/"
}

# The package is found by its path: no neighbour of it, no PYTHONPATH and no file of the current directory is imported.
install_command() {
    mkdir -p "$DESTDIR$PREFIX/bin"
    cat > "$DESTDIR$command.new" <<END
#!/bin/sh
# $MARK
exec '$INSTALL_PYTHON' -I -c '
import importlib.util, runpy, sys
place = "$modules/pywsgid"
spec = importlib.util.spec_from_file_location("pywsgid", place + "/__init__.py", submodule_search_locations=[place])
package = sys.modules["pywsgid"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
runpy.run_module("pywsgid", run_name="__main__")' "\$@"
END
    chmod 755 "$DESTDIR$command.new"
    mv "$DESTDIR$command.new" "$DESTDIR$command"
    say installed "$DESTDIR$command"
}

# What root had to build before it could install: `make clean` is the owner's.
give_back() {
    [ "$(id -u)" = 0 ] && [ "$(stat -c %u Makefile)" != 0 ] || return 0
    find build .venv pywsgid -user root -exec chown -h --reference=Makefile {} +
}

uninstall_command() {
    if grep -qF "$MARK" "$DESTDIR$command" 2>/dev/null; then
        rm -f "$DESTDIR$command"
        say removed "$DESTDIR$command"
    fi
}

# $1: where to. With a DESTDIR the layout of the machine that builds is taken for that of the package.
install_settings_debian() {
    mkdir -p "$DESTDIR$1"
    load_line > "$DESTDIR$1/wsgid.load"
    if [ -e "$DESTDIR$1/wsgid.conf" ] && ! cmp -s conf/wsgid.conf "$DESTDIR$1/wsgid.conf"; then
        say kept "$DESTDIR$1/wsgid.conf, which was changed; ours is conf/wsgid.conf"
    else
        install -m 644 conf/wsgid.conf "$DESTDIR$1/wsgid.conf"
    fi
    say installed "$DESTDIR$1/wsgid.load and wsgid.conf; now: a2enmod wsgid && systemctl restart apache2"
}

install_settings() {
    if [ -d "$settings/mods-available" ]; then
        install_settings_debian "$settings/mods-available"
    elif [ -d "$settings/../conf.modules.d" ]; then
        mkdir -p "$DESTDIR$settings/../conf.modules.d"
        load_line > "$DESTDIR$settings/../conf.modules.d/10-wsgid.conf"
        say installed "$DESTDIR$settings/../conf.modules.d/10-wsgid.conf; now restart httpd"
    else
        say "add to your configuration" "$(load_line | grep '^LoadModule')"
    fi
}

uninstall_settings() {
    available=$DESTDIR$settings/mods-available
    # What a2enmod linked would keep Apache from starting.
    rm -f "$DESTDIR$settings/mods-enabled/wsgid.load" "$DESTDIR$settings/mods-enabled/wsgid.conf"
    rm -f "$available/wsgid.load" "$DESTDIR$settings/../conf.modules.d/10-wsgid.conf"
    if [ -e "$available/wsgid.conf" ] && ! cmp -s conf/wsgid.conf "$available/wsgid.conf"; then
        say kept "$available/wsgid.conf, which was changed"
    else
        rm -f "$available/wsgid.conf"
    fi
}

case ${1:-} in
    install)
        install_module
        install_command
        install_settings
        give_back
        ;;
    uninstall)
        uninstall_settings
        rm -f "$DESTDIR$modules/mod_wsgid.so"
        rm -rf "$DESTDIR$modules/pywsgid"
        uninstall_command
        say removed "$DESTDIR$modules/mod_wsgid.so, $DESTDIR$modules/pywsgid/"
        ;;
    *)
        echo "usage: install.sh install|uninstall" >&2
        exit 2
        ;;
esac
