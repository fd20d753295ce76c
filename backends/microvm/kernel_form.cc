// What a kernel file is, by its first bytes: monitors fail with messages that name neither it nor
// what they would take.
#include "attest/error.h"
#include "backends/microvm/boot_files.h"

namespace attest::microvm {
namespace {

std::uint64_t little_endian(std::string_view head, std::size_t at, int width) {
  std::uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(head[at + std::size_t(i)]);
  return value;
}

[[noreturn]] void wrong(const std::string& what) { throw Error(Error::Kind::usage, what); }

}  // namespace

KernelForm kernel_form(std::string_view head, std::uint64_t size) {
  constexpr std::size_t elf_header = 64;
  if (size == 0) wrong("is empty");
  if (head.starts_with("\x7f"
                       "ELF") &&
      head.size() >= elf_header) {
    if (auto machine = little_endian(head, 18, 2); machine != 62)
      wrong("is for another processor (ELF machine " + std::to_string(machine) + ", not 62)");
    // The section headers are at the end of a kernel as it was linked.
    if (auto sections = little_endian(head, 40, 8); sections > size)
      wrong("is cut short: " + std::to_string(size) + " bytes, its header says more than " +
            std::to_string(sections));
    return KernelForm::elf;
  }
  // Linux's Documentation/arch/x86/boot.rst: "HdrS" at 0x202, the size of the real-mode part in
  // sectors at 0x1f1, the size of the rest in 16-byte units at 0x1f4.
  if (head.size() < 0x206 || head.substr(0x202, 4) != "HdrS")
    wrong("is not an x86 Linux kernel (neither bzImage nor ELF)");
  std::uint64_t sectors = little_endian(head, 0x1f1, 1);
  std::uint64_t expected = ((sectors ? sectors : 4) + 1) * 512 + little_endian(head, 0x1f4, 4) * 16;
  if (size < expected)
    wrong("is cut short: " + std::to_string(size) + " bytes, its header says " +
          std::to_string(expected));
  return KernelForm::bz_image;
}

}  // namespace attest::microvm
