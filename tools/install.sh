#!/bin/sh
# Puts the built module where Apache looks for it, or takes it away again; `make install` and `make uninstall` call it.
#
#   LIBEXECDIR/mod_wsgid.so     what LoadModule names
#   LIBEXECDIR/pywsgid/         the daemon: the module looks for pywsgid/daemon/boot.py beside itself
#   mods-available/wsgid.load, wsgid.conf   on Debian, for a2enmod
#   conf.modules.d/10-wsgid.conf            on Fedora and RHEL
#
# DESTDIR goes before every path that is written, and into no file. A wsgid.conf that was changed stays as it is.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin
DESTDIR=${DESTDIR:-}
apxs=${APXS:-$(command -v apxs || command -v apxs2)}
modules=$("$apxs" -q LIBEXECDIR)
settings=$("$apxs" -q SYSCONFDIR)

say() { echo "$1: $2"; }

load_line() {
    grep -v '^LoadModule' conf/wsgid.load
    echo "LoadModule wsgid_module \"$modules/mod_wsgid.so\""
}

install_module() {
    mkdir -p "$DESTDIR$modules"
    install -m 644 build/install/mod_wsgid.so "$DESTDIR$modules/mod_wsgid.so"
    rm -rf "$DESTDIR$modules/pywsgid"
    for file in $(find pywsgid -name '*.py' ! -path 'pywsgid/native/*') pywsgid/_native*.so; do
        [ ! -e "$file" ] || install -D -m 644 "$file" "$DESTDIR$modules/$file"
    done
    find "$DESTDIR$modules/pywsgid" -type d -exec chmod 755 {} +
    say installed "$DESTDIR$modules/mod_wsgid.so, $DESTDIR$modules/pywsgid/"
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
        install_settings
        ;;
    uninstall)
        uninstall_settings
        rm -f "$DESTDIR$modules/mod_wsgid.so"
        rm -rf "$DESTDIR$modules/pywsgid"
        say removed "$DESTDIR$modules/mod_wsgid.so, $DESTDIR$modules/pywsgid/"
        ;;
    *)
        echo "usage: install.sh install|uninstall" >&2
        exit 2
        ;;
esac
