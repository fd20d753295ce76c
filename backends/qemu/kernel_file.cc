#include "backends/qemu/kernel_file.h"

#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attest::qemu {
namespace {

std::uint32_t little_endian(std::string_view head, std::size_t at, int width) {
  std::uint32_t value = 0;
  for (int i = width - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(head[at + i]);
  return value;
}

}  // namespace

std::string kernel_problem(std::string_view head, std::uint64_t size) {
  if (size == 0) return "is empty";
  if (head.substr(0, 4) ==
          "\x7f"
          "ELF" &&
      head.size() >= 20) {
    auto machine = little_endian(head, 18, 2);
    if (machine != 62 && machine != 3)
      return "is for another processor (ELF machine " + std::to_string(machine) + ")";
    return "";
  }
  // Linux's Documentation/arch/x86/boot.rst: "HdrS" at 0x202, the size of the real-mode part in
  // sectors at 0x1f1, the size of the rest in 16-byte units at 0x1f4.
  if (head.size() < 0x206 || head.substr(0x202, 4) != "HdrS")
    return "is not an x86 Linux kernel (neither bzImage nor ELF)";
  std::uint64_t sectors = little_endian(head, 0x1f1, 1);
  std::uint64_t expected =
      ((sectors ? sectors : 4) + 1) * 512 + std::uint64_t(little_endian(head, 0x1f4, 4)) * 16;
  if (size < expected)
    return "is cut short: " + std::to_string(size) + " bytes, its header says " +
           std::to_string(expected);
  return "";
}

void check_kernel(const std::filesystem::path& kernel) {
  std::string problem;
  std::string head(4096, '\0');
  struct stat status{};
  base::Fd file(::open(kernel.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file || ::fstat(file.get(), &status) == -1)
    problem = "cannot be opened: " + std::string(base::sys_error("open").what());
  else if (!S_ISREG(status.st_mode))
    problem = "is not a regular file";
  else {
    head.resize(std::max<ssize_t>(::read(file.get(), head.data(), head.size()), 0));
    problem = kernel_problem(head, status.st_size);
  }
  if (!problem.empty())
    throw Error(Error::Kind::usage, "the kernel '" + kernel.string() + "' " + problem)
        .hint("correct 'kernel' in the config, or build the image again: sh guest/debian/build.sh");
}

}  // namespace attest::qemu
