# Sourced after tools/steps.sh: what attest needs from Debian 12, and how it gets there.
# shellcheck shell=sh disable=SC2034,SC2086  # lists of packages are split into words on purpose

packages_build="g++ meson ninja-build pkgconf libboost1.81-dev nlohmann-json3-dev libfmt-dev libre2-dev libxxhash-dev
	libnl-3-dev libnl-route-3-dev libssh2-1-dev libgtest-dev libgmock-dev"
packages_run="qemu-system-x86 systemd-container"
packages_guest="mmdebstrap erofs-utils cpio zstd xz-utils lz4 kmod"
packages_tests="ccache g++-aarch64-linux-gnu cmake clang-19 libclang-rt-19-dev clang-tidy-19 clang-format-19 gdb git
	iproute2 libyaml-cpp-dev netcat-openbsd openssh-client openssh-server passt procps python3 qemu-utils tshark vde2
	x11-utils xvfb"
# Its two packages exclude each other, and either will do.
command -v busybox >/dev/null || packages_tests="$packages_tests busybox"

# The same for people on other systems.
packages_in_words='attest needs
  to build   a C++20 compiler (g++ 12 or newer), Meson 1.0, Ninja, pkg-config, Boost 1.81 (headers),
             nlohmann-json 3.11, fmt 9, RE2, xxHash 0.8, libnl 3.7 (libnl-route-3), libssh2 1.10, GoogleTest and
             GoogleMock 1.12
  to run     QEMU 7.2 (qemu-system-x86_64)
  its guest  mmdebstrap, erofs-utils, cpio, zstd, xz, lz4, kmod; as an ordinary user also uidmap'

on_debian_12() (
	[ -r /etc/os-release ] || exit 1
	. /etc/os-release
	[ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ]
)

# missing_packages NAME...: prints those that are not installed.
missing_packages() {
	for package in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || :) in
			ii*) ;;
			*) printf '%s ' "$package" ;;
		esac
	done
}

# install_packages NAME...: installs what is missing, or stops with the line for an administrator.
install_packages() {
	packages_missing=$(missing_packages "$@")
	if [ -z "$packages_missing" ]; then
		say "all $# Debian packages are there"
		return 0
	fi
	packages_line="apt-get install --no-install-recommends ${packages_missing% }"
	packages_root=
	if [ "$(id -u)" != 0 ]; then
		packages_root=sudo
		# Without a terminal nobody can type a password.
		{ [ -t 0 ] && command -v sudo >/dev/null; } || sudo -n true 2>/dev/null ||
			stop 2 "packages are missing, and this is neither root nor a user of sudo. Ask for:" \
				"  $packages_line"
		# The password now: what runs quietly cannot ask for it.
		sudo -n true 2>/dev/null || sudo -v || exit 2
	fi
	packages_log=$(mktemp)
	packages_apt="$packages_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
	say "package lists: updating"
	quietly 300 "$packages_log" $packages_apt update || exit 1
	packages_removed=$(apt-get -qq -s install --no-install-recommends $packages_missing 2>/dev/null |
		sed -n 's/^Remv \([^ ]*\).*/\1/p')
	for package in $packages_removed; do
		case $package in
			libboost*) ;; # 1.81 takes the place of Debian's default, 1.74: one version at a time
			*) stop 2 "apt would remove '$package' for these packages. If that is fine, run:" \
				"  $packages_line" ;;
		esac
	done
	[ -z "$packages_removed" ] ||
		say "note: libboost1.81-dev replaces what is there of Boost 1.74:" $packages_removed
	say "installing:" $packages_missing
	quietly 1200 "$packages_log" $packages_apt install -y --no-install-recommends $packages_missing || exit 1
	rm -f "$packages_log"
}
