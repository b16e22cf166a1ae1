# Shared by scripts/demo and scripts/test: Debian packages and a virtual environment.
# shellcheck shell=bash

# Install the Debian packages that are missing, or name the line that does.
need_packages() {
    command -v dpkg >/dev/null || return 0
    local missing=() package
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local install="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" -eq 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install
    elif sudo -n true 2>/dev/null; then
        sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive $install
    else
        echo "Debian packages are missing. Install them, then start this again:" >&2
        echo "    sudo $install" >&2
        exit 1
    fi
}

# Print the first Python that is new enough.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found." >&2
    exit 1
}

# Create the virtual environment in folder $1 and activate it.
enter_environment() {
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip' 2>/dev/null || need_packages python3-venv
    [ -x "$1/bin/python" ] || "$python" -m venv "$1"
    # shellcheck disable=SC1091
    source "$1/bin/activate"
}

SCREEN_PACKAGES=(
    libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-bin libxcb-cursor0
    libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxkbcommon-x11-0
)
