#!/bin/sh
# Software OpenGL and a virtual display for the viewer tests. Installs Debian packages where it may; elsewhere says
# what to install. On CI (CI=true) a missing display is a failure.
set -u
packages="xvfb libegl1 libgl1 libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1
libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libgl1-mesa-dri"

missing=""
command -v dpkg-query >/dev/null 2>&1 && for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
command -v Xvfb >/dev/null 2>&1 && [ -z "$missing" ] && exit 0
[ "$(uname)" = Linux ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo="sudo -n"
    # A name that this Debian or Ubuntu does not have must not stop the others, hence one retry per package.
    if $sudo true 2>/dev/null; then
        $sudo apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
            for p in $packages; do DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$p" >/dev/null; done
    fi
fi
command -v Xvfb >/dev/null 2>&1 && exit 0
echo "No virtual display (Xvfb) and no right to install one: tests that open the napari window are skipped."
echo "To run them: sudo apt-get install $(echo $packages)"
[ "${CI:-}" = true ] && exit 1
exit 0
