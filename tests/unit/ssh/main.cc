#include "unit/ssh/sshd.h"

#include <gmock/gmock.h>

int main(int argc, char** argv) {
  attest::ssh::enter_test_namespaces();
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
