#include "lib/entry/relocate.h"

#include "attest/error.h"

#include <exception>

namespace attest::entry {

void ErrorRelocator::ReportTestPartResult(const ::testing::TestPartResult& result) {
  using Delegate = ::testing::internal::HasNewFatalFailureHelper;
  // gtest reports an uncaught exception without a file, from inside its handler for it.
  if (result.file_name() == nullptr && result.fatally_failed() && std::current_exception()) {
    try {
      throw;
    } catch (const Error& e) {
      const char* file = e.where().file_name();
      int line = static_cast<int>(e.where().line());
      if (line == 0) {
        file = running_.file();
        line = running_.line();
      }
      Delegate::ReportTestPartResult(::testing::TestPartResult(
          ::testing::TestPartResult::kFatalFailure, file, line, e.what()));
      return;
    } catch (...) {  // not ours: report it as gtest does
    }
  }
  Delegate::ReportTestPartResult(result);
}

}  // namespace attest::entry
