/* A driver with two GPUs, behind the interface of NVIDIA's management library; NVML_FAKE chooses its failure. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
static const unsigned long long sizes[] = {24ULL << 30, 80ULL << 30};

static int fails(const char *how) {
  const char *said = getenv("NVML_FAKE");
  return said && strcmp(said, how) == 0;
}
int nvmlInit_v2(void) {
  if (fails("hangs")) pause();
  return fails("no driver") ? DRIVER_NOT_LOADED : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  if (index > 1) return NOT_FOUND;
  *device = (void *)(index + 1UL);
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *device, memory *info) {
  info->total = sizes[(unsigned long)device - 1];
  return SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
  strncpy(text, device == (void *)1 ? "GPU-aaaa-1" : "GPU-bbbb-2", length);
  return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) {
  strncpy(text, device == (void *)1 ? "NVIDIA Small" : "NVIDIA Large", length);
  return SUCCESS;
}
