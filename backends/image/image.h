// The description of a bootable guest: the image.json that guest/debian/build.sh writes beside the
// files that it names. Shared by all backends that boot an image.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attest::image {

/// One guest image. Paths are absolute; those of parts that the image does not have are empty.
struct Image {
  std::string name;                   ///< "debian-12"
  std::vector<std::string> backends;  ///< names of the backends that can boot it
  std::filesystem::path kernel;       ///< bzImage
  std::filesystem::path vmlinux;      ///< the same kernel as ELF
  std::filesystem::path initrd;
  std::filesystem::path root;  ///< file with the root file system, shared read-only by machines
  std::string root_format;     ///< "erofs", "ext4", "qcow2", ...
  /// A part of the root on a read-only drive of its own (erofs), directly after the root's; shared
  /// by machines, too. The image's initrd mounts it, and its cmdline says from where.
  std::filesystem::path store;
  std::string store_mount;     ///< where it is in the guest: "/usr", "/nix/store"
  std::filesystem::path tree;  ///< the same root as a directory
  std::string cmdline;         ///< what the image needs on the kernel command line
  std::string channel;         ///< how it greets: "agent" (if its seed has one), "backdoor"
  std::string seed;            ///< how it takes seed files: "initrd" (below /attest/seed), or ""
};

/// Reads the text of an image.json that lies in `directory`. Pure. Throws Error{usage} naming the
/// file, the key, what was expected and what came.
Image parse_image(std::string_view json, const std::filesystem::path& directory);

/// Where attest keeps what is costly to make: $ATTEST_CACHE, $XDG_CACHE_HOME/attest or
/// ~/.cache/attest. Empty if none of these variables is set. It need not exist.
std::filesystem::path cache_dir();

/// The image that a config's `image` means: "" is $ATTEST_IMAGE or else "debian"; a value with a
/// slash is a directory with an image.json, or that file; any other is looked up in the cache.
/// Throws Error{usage} with the way to build it if it is not there, and for a backend that the
/// image does not serve.
Image find_image(const std::string& value, std::string_view backend);

}  // namespace attest::image
