#include "backends/qemu/qcow2.h"

#include "attest/error.h"

namespace attest::qemu {
namespace {

// QEMU's docs/interop/qcow2.txt, version 3. All numbers are big-endian.
constexpr std::string_view magic{"QFI\xfb", 4};
constexpr std::uint64_t cluster = 65536;
constexpr std::uint64_t per_l2_table = cluster / 8 * cluster;  // bytes of disk per L1 entry
constexpr std::uint64_t entries_per_block = cluster / 2;       // 16-bit reference counts
constexpr std::size_t longest_name = 1023;

void put(std::string& bytes, std::size_t at, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes[at + i] = char(value >> 8 * (width - 1 - i));
}

}  // namespace

std::string qcow2_overlay(const std::string& backing_file, const std::string& backing_format,
                          std::uint64_t size) {
  std::uint64_t l1_entries = (size + per_l2_table - 1) / per_l2_table;
  std::uint64_t l1_clusters = (l1_entries * 8 + cluster - 1) / cluster;
  std::uint64_t clusters = 3 + l1_clusters;  // header, reference table, reference block, L1
  if (backing_file.size() > longest_name)
    throw Error(Error::Kind::usage, "the path of the disk '" + backing_file + "' is longer than " +
                                        std::to_string(longest_name) + " bytes");
  if (clusters > entries_per_block)
    throw Error(Error::Kind::usage, "the disk '" + backing_file + "' is too large for an overlay");

  std::string bytes(clusters * cluster, '\0');
  std::size_t format_size = (backing_format.size() + 7) / 8 * 8;
  std::size_t name_at = 104 + 8 + format_size + 8;
  bytes.replace(0, 4, magic);
  put(bytes, 4, 3, 4);                     // version
  put(bytes, 8, name_at, 8);               // backing file: where
  put(bytes, 16, backing_file.size(), 4);  // and how long
  put(bytes, 20, 16, 4);                   // cluster bits
  put(bytes, 24, size, 8);
  put(bytes, 36, l1_entries, 4);
  put(bytes, 40, 3 * cluster, 8);  // L1 table
  put(bytes, 48, 1 * cluster, 8);  // reference count table
  put(bytes, 56, 1, 4);            // its clusters
  put(bytes, 96, 4, 4);            // reference counts have 2^4 bits
  put(bytes, 100, 104, 4);         // header length
  put(bytes, 104, 0xE2792ACA, 4);  // extension: backing format
  put(bytes, 108, backing_format.size(), 4);
  bytes.replace(112, backing_format.size(), backing_format);
  bytes.replace(name_at, backing_file.size(), backing_file);

  put(bytes, cluster, 2 * cluster, 8);  // the first reference block
  for (std::uint64_t i = 0; i < clusters; ++i) put(bytes, 2 * cluster + 2 * i, 1, 2);
  return bytes;
}

std::optional<std::uint64_t> qcow2_size(std::string_view header) {
  if (header.size() < 32 || header.substr(0, 4) != magic) return std::nullopt;
  std::uint64_t size = 0;
  for (int i = 24; i < 32; ++i) size = size << 8 | static_cast<unsigned char>(header[i]);
  return size;
}

}  // namespace attest::qemu
