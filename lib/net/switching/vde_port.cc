#include "lib/net/switching/vde_port.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace attest::net {

VdePort::VdePort(std::shared_ptr<DatagramPort> data, Control control, std::function<void()> left)
    : data_(std::move(data)), control_(std::move(control)), left_(std::move(left)) {}

Task<void> VdePort::watch(std::shared_ptr<VdePort> self) {
  while (self->control_.is_open()) {
    // What comes here after the request means nothing: the rest of a description, at most.
    char ignored[256];
    auto count = ::recv(self->control_.native_handle(), ignored, sizeof ignored, MSG_DONTWAIT);
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    if (count == 0 || errno != EAGAIN) break;
    co_await self->control_.async_wait(asio::posix::descriptor_base::wait_read,
                                       asio::as_tuple(asio::use_awaitable));
  }
  self->data_->end();
}

void VdePort::close() noexcept {
  data_->close();
  boost::system::error_code ignored;
  control_.close(ignored);
  if (left_) std::exchange(left_, nullptr)();
}

}  // namespace attest::net
