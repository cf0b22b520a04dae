// The CUDA runtime without a GPU, to be loaded before PyTorch's: see ../fake_cuda.py.
//
// Kernels do nothing, and what lies in the memory of the GPU reads as zeros. What is copied, recorded and waited for is
// done late: only when the program waits for it. Until a copy from the GPU is done, its target in memory is 0xFF; a
// copy to the GPU whose source changes before it is done is a fault. Captures follow the rules of the CUDA Programming
// Guide
// ("Prohibited and Unhandled Operations") and of cudaThreadExchangeStreamCaptureMode: what waits for a capturing
// stream, and what is unsafe in the capture's mode, invalidates it.
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define LOCKED std::lock_guard<std::recursive_mutex> guard(everything)

namespace {

constexpr size_t GPU_BYTES = 80ull << 30;
constexpr size_t PAGE = 4096;
constexpr int POLLS = 20;  // after so many questions whether an event is done, it is

std::recursive_mutex everything;

struct Stream;
struct Event {
    unsigned long recorded = 0, done = 0, capture = 0;
    Stream* stream = nullptr;
    int polls = 0;
};
enum class Kind { kernel, upload, download, record, wait };
struct Work {
    Kind kind = Kind::kernel;
    void* host = nullptr;
    size_t bytes = 0;
    unsigned long digest = 0;
    Event* event = nullptr;
    unsigned long recorded = 0;
};
struct Stream {
    std::deque<Work> queue;
    unsigned long capture = 0;
    unsigned flags = 0;
};
struct Capture {
    unsigned long id;
    Stream* origin;
    cudaStreamCaptureMode mode;
    pthread_t thread;
    bool is_invalid = false;
    size_t nodes = 0;
    std::vector<Work> copies;
};
struct Graph {
    size_t nodes;
    std::vector<Work> copies;
};

Stream legacy;
std::set<Stream*> streams{&legacy};
std::map<unsigned long, Capture*> captures;
unsigned long captures_begun = 0;
std::map<char*, size_t> on_gpu, pinned;
size_t gpu_bytes = 0;
std::map<const void*, std::string> kernel_names;
std::map<std::string, long> outside_of_graphs;
long faults = 0, replays = 0;
std::vector<size_t> graph_nodes;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

void fault(const std::string& what) {
    faults++;
    fprintf(stderr, "[fake CUDA] fault: %s\n", what.c_str());
}

int capability() {
    const char* given = getenv("FAKE_CUDA_CAPABILITY");
    return given ? atoi(given) : 90;
}

bool lies_in(const std::map<char*, size_t>& blocks, const void* address) {
    auto block = blocks.upper_bound((char*)address);
    if (block == blocks.begin()) return false;
    --block;
    return (char*)address < block->first + block->second;
}

unsigned long digest_of(const void* memory, size_t bytes) {
    unsigned long digest = 1469598103934665603ul;
    for (size_t i = 0; i < bytes; i += bytes > 65536 ? 61 : 1)
        digest = (digest ^ ((unsigned char*)memory)[i]) * 1099511628211ul;
    return digest;
}

Stream* stream_of(cudaStream_t stream) {
    return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread ? &legacy : (Stream*)stream;
}

void work_until(Stream* stream, Event* event, unsigned long recorded);

void do_work(const Work& work) {
    if (work.kind == Kind::upload && digest_of(work.host, work.bytes) != work.digest)
        fault("memory changed before its upload was done");
    if (work.kind == Kind::download) memset(work.host, 0, work.bytes);
    if (work.kind == Kind::record && work.recorded > work.event->done) work.event->done = work.recorded;
    if (work.kind == Kind::wait && work.event->done < work.recorded)
        work_until(work.event->stream, work.event, work.recorded);
}

void do_next(Stream* stream) {
    Work work = stream->queue.front();
    stream->queue.pop_front();
    do_work(work);
}

void work_until(Stream* stream, Event* event, unsigned long recorded) {
    while (event->done < recorded && !stream->queue.empty()) do_next(stream);
}

void work_off(Stream* stream) {
    while (!stream->queue.empty()) do_next(stream);
}

void invalidate(Capture* capture, const std::string& cause) {
    if (!capture->is_invalid) fault("a capture is invalid by " + cause);
    capture->is_invalid = true;
}

// Of a call that the mode of a capture forbids.
cudaError_t unsafe(const char* call) {
    if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    for (auto& [id, capture] : captures) {
        bool is_own = pthread_equal(capture->thread, pthread_self()) && capture->mode != cudaStreamCaptureModeRelaxed;
        bool is_global = capture->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
        if (!is_own && !is_global) continue;
        invalidate(capture, call);
        return told(cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

cudaError_t waits_for(Stream* stream, const char* call) {
    if (!stream->capture) return cudaSuccess;
    invalidate(captures[stream->capture], call);
    return told(cudaErrorStreamCaptureUnsupported);
}

cudaError_t waits_for(Event* event, const char* call) {
    if (!captures.count(event->capture)) return cudaSuccess;
    invalidate(captures[event->capture], call);
    return told(cudaErrorCapturedEvent);
}

cudaError_t put(cudaStream_t on, const Work& work, const std::string& name) {
    Stream* stream = stream_of(on);
    if (stream == &legacy)
        for (auto& [id, capture] : captures)
            if (!(capture->origin->flags & cudaStreamNonBlocking)) {
                invalidate(capture, name + " on the legacy stream");
                return told(cudaErrorStreamCaptureImplicit);
            }
    if (!stream->capture) {
        if (work.kind != Kind::kernel) stream->queue.push_back(work);
        outside_of_graphs[name]++;
        return cudaSuccess;
    }
    Capture* capture = captures[stream->capture];
    if (capture->is_invalid) return told(cudaErrorStreamCaptureInvalidated);
    capture->nodes++;
    if (work.kind != Kind::kernel) capture->copies.push_back(work);
    return cudaSuccess;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t on) {
    bool to_gpu = lies_in(on_gpu, to), from_gpu = lies_in(on_gpu, from);
    Stream* stream = stream_of(on);
    if (to_gpu && from_gpu) return put(on, Work{}, "copy on the GPU");
    if (!to_gpu && !from_gpu) return memmove(to, from, bytes), cudaSuccess;
    bool is_pinned = lies_in(pinned, to_gpu ? from : to);
    std::string name = std::string(to_gpu ? "upload" : "download") + (is_pinned ? "" : " of pageable memory");
    if (!is_pinned) {
        if (stream->capture) fault(name + " in a capture");
        if (!to_gpu) work_off(stream), memset(to, 0, bytes);
        return put(on, Work{}, name);
    }
    if (to_gpu) return put(on, Work{Kind::upload, (void*)from, bytes, digest_of(from, bytes)}, name);
    memset(to, 0xFF, bytes);
    return put(on, Work{Kind::download, to, bytes}, name);
}

cudaError_t make_stream(cudaStream_t* made, unsigned flags) {
    LOCKED;
    auto* stream = new Stream;
    stream->flags = flags;
    streams.insert(stream);
    *made = (cudaStream_t)stream;
    return cudaSuccess;
}

cudaStreamCaptureStatus status_of(Stream* stream) {
    if (!stream->capture) return cudaStreamCaptureStatusNone;
    return captures[stream->capture]->is_invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
}

__attribute__((destructor)) void report() {
    if (outside_of_graphs.empty()) return;
    fprintf(stderr, "[fake CUDA] graphs:");
    for (size_t nodes : graph_nodes) fprintf(stderr, " %zu", nodes);
    fprintf(stderr, " nodes, replayed %ld times; faults: %ld; outside of graphs:\n", replays, faults);
    long kernels = 0;
    for (auto& [name, count] : outside_of_graphs) {
        bool is_kernel = kernel_names.size() && name.rfind("_Z", 0) == 0;
        kernels += is_kernel ? count : 0;
        if (!is_kernel || getenv("FAKE_CUDA_KERNELS")) fprintf(stderr, "%8ld %s\n", count, name.c_str());
    }
    fprintf(stderr, "%8ld kernels of PyTorch\n", kernels);
}

}  // namespace

// For libraries that are replaced as a whole, and for the driver.
EXPORTED int fake_cuda_launch(void* stream, const char* name) {
    LOCKED;
    return put((cudaStream_t)stream, Work{}, name);
}
EXPORTED int fake_cuda_is_on_gpu(const void* address) {
    LOCKED;
    return lies_in(on_gpu, address);
}

// The device.
EXPORTED cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
EXPORTED cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
EXPORTED cudaError_t cudaSetDevice(int) { return cudaSuccess; }
EXPORTED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    *p = cudaDeviceProp{};
    strcpy(p->name, "no GPU, a stand-in");
    p->major = capability() / 10, p->minor = capability() % 10;
    p->multiProcessorCount = 132, p->warpSize = 32, p->totalGlobalMem = GPU_BYTES, p->l2CacheSize = 50 << 20;
    p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 232448, p->sharedMemPerMultiprocessor = 233472;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->totalConstMem = 65536;
    p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->maxBlocksPerMultiProcessor = 32;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->textureAlignment = 512, p->concurrentKernels = p->unifiedAddressing = p->canMapHostMemory = 1;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    static const std::map<int, int> values{{cudaDevAttrComputeCapabilityMajor, capability() / 10},
                                           {cudaDevAttrComputeCapabilityMinor, capability() % 10},
                                           {cudaDevAttrMultiProcessorCount, 132},
                                           {cudaDevAttrMaxThreadsPerBlock, 1024},
                                           {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
                                           {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
                                           {cudaDevAttrWarpSize, 32},
                                           {cudaDevAttrMaxGridDimX, 2147483647},
                                           {cudaDevAttrMaxGridDimY, 65535},
                                           {cudaDevAttrMaxGridDimZ, 65535},
                                           {cudaDevAttrMaxThreadsPerMultiProcessor, 2048}};
    auto known = values.find(attribute);
    *value = known == values.end() ? 0 : known->second;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int) {
    return snprintf(id, length, "0000:01:00.0"), cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    return *least = 0, *greatest = -5, cudaSuccess;
}
EXPORTED cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
EXPORTED cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
EXPORTED cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }
EXPORTED cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
    return *total = GPU_BYTES, *available = GPU_BYTES - gpu_bytes, cudaSuccess;
}
EXPORTED cudaError_t cudaProfilerStart() { return cudaSuccess; }
EXPORTED cudaError_t cudaProfilerStop() { return cudaSuccess; }
EXPORTED cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** entry, unsigned, unsigned long long,
                                                      cudaDriverEntryPointQueryResult* result) {
    *entry = nullptr;
    if (result) *result = cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceSynchronize() {
    LOCKED;
    for (auto& [id, capture] : captures) invalidate(capture, "cudaDeviceSynchronize");
    if (!captures.empty()) return told(cudaErrorStreamCaptureUnsupported);
    for (Stream* stream : streams) work_off(stream);
    return cudaSuccess;
}

// Errors.
EXPORTED cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
EXPORTED cudaError_t cudaPeekAtLastError() { return last_error; }
EXPORTED const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
        case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
        case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
        case cudaErrorCapturedEvent: return "operation not permitted on an event last recorded in a capturing stream";
        case cudaErrorMemoryAllocation: return "out of memory";
        default: return "an error that has no name here";
    }
}
EXPORTED const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

// Memory. Pages of the GPU can only be read, so that no CPU code writes there unnoticed.
EXPORTED cudaError_t cudaMalloc(void** memory, size_t bytes) {
    LOCKED;
    if (cudaError_t error = unsafe("cudaMalloc")) return error;
    if (gpu_bytes + bytes > GPU_BYTES) return told(cudaErrorMemoryAllocation);
    *memory = mmap(nullptr, bytes + PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    on_gpu[(char*)*memory] = bytes;
    gpu_bytes += bytes;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFree(void* memory) {
    LOCKED;
    if (!memory) return cudaSuccess;
    if (cudaError_t error = unsafe("cudaFree")) return error;
    for (Stream* stream : streams) work_off(stream);
    size_t bytes = on_gpu[(char*)memory];
    on_gpu.erase((char*)memory);
    gpu_bytes -= bytes;
    munmap(memory, bytes + PAGE);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
    LOCKED;
    if (cudaError_t error = unsafe("cudaHostAlloc")) return error;
    if (posix_memalign(memory, PAGE, bytes + 1)) return told(cudaErrorMemoryAllocation);
    memset(*memory, 0xFF, bytes);
    pinned[(char*)*memory] = bytes + 1;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFreeHost(void* memory) {
    LOCKED;
    if (cudaError_t error = unsafe("cudaFreeHost")) return error;
    for (Stream* stream : streams) work_off(stream);
    pinned.erase((char*)memory);
    free(memory);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned) {
    LOCKED;
    pinned[(char*)memory] = bytes;
    return unsafe("cudaHostRegister");
}
EXPORTED cudaError_t cudaHostUnregister(void* memory) {
    LOCKED;
    pinned.erase((char*)memory);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
    LOCKED;
    *attributes = cudaPointerAttributes{};
    bool is_gpu = lies_in(on_gpu, address), is_pinned = lies_in(pinned, address);
    attributes->type = is_gpu ? cudaMemoryTypeDevice : is_pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    if (is_gpu || is_pinned) attributes->devicePointer = (void*)address;
    if (is_pinned) attributes->hostPointer = (void*)address;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t on) {
    LOCKED;
    return copy(to, from, bytes, on);
}
EXPORTED cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t on) {
    LOCKED;
    return copy(to, from, bytes, on);
}
EXPORTED cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    LOCKED;
    if (cudaError_t error = unsafe("cudaMemcpy")) return error;
    cudaError_t error = copy(to, from, bytes, nullptr);
    work_off(&legacy);
    return error;
}
EXPORTED cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
    return cudaSuccess;
}
EXPORTED cudaError_t cudaMemset(void*, int, size_t) {
    LOCKED;
    return unsafe("cudaMemset");
}
EXPORTED cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t on) {
    LOCKED;
    return put(on, Work{}, "memset");
}

// Streams and events.
EXPORTED cudaError_t cudaStreamCreate(cudaStream_t* made) { return make_stream(made, 0); }
EXPORTED cudaError_t cudaStreamCreateWithFlags(cudaStream_t* made, unsigned flags) { return make_stream(made, flags); }
EXPORTED cudaError_t cudaStreamCreateWithPriority(cudaStream_t* made, unsigned flags, int) {
    return make_stream(made, flags);
}
EXPORTED cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
EXPORTED cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) { return *priority = 0, cudaSuccess; }
EXPORTED cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    LOCKED;
    outside_of_graphs["wait for a stream"]++;
    if (cudaError_t error = waits_for(stream_of(stream), "cudaStreamSynchronize")) return error;
    work_off(stream_of(stream));
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamQuery(cudaStream_t stream) {
    LOCKED;
    if (cudaError_t error = waits_for(stream_of(stream), "cudaStreamQuery")) return error;
    return stream_of(stream)->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
EXPORTED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* made, unsigned) {
    return *made = (cudaEvent_t) new Event, cudaSuccess;
}
EXPORTED cudaError_t cudaEventCreate(cudaEvent_t* made) { return cudaEventCreateWithFlags(made, 0); }
EXPORTED cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
EXPORTED cudaError_t cudaEventRecord(cudaEvent_t recorded, cudaStream_t on) {
    LOCKED;
    auto* event = (Event*)recorded;
    Stream* stream = stream_of(on);
    event->recorded++, event->polls = 0, event->stream = stream, event->capture = stream->capture;
    if (stream->capture)
        return captures[stream->capture]->is_invalid ? told(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
    stream->queue.push_back(Work{Kind::record, nullptr, 0, 0, event, event->recorded});
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t on, unsigned) {
    return cudaEventRecord(event, on);
}
EXPORTED cudaError_t cudaStreamWaitEvent(cudaStream_t waiting, cudaEvent_t awaited, unsigned) {
    LOCKED;
    auto* event = (Event*)awaited;
    Stream* stream = stream_of(waiting);
    if (!event->recorded) return cudaSuccess;
    if (captures.count(event->capture)) {  // the stream joins the capture
        if (captures[event->capture]->is_invalid) return told(cudaErrorStreamCaptureInvalidated);
        if (stream == &legacy)
            return invalidate(captures[event->capture], "the legacy stream's wait"),
                   told(cudaErrorStreamCaptureImplicit);
        stream->capture = event->capture;
        return cudaSuccess;
    }
    if (stream->capture)
        return invalidate(captures[stream->capture], "a wait for what is not captured"),
               told(cudaErrorStreamCaptureIsolation);
    stream->queue.push_back(Work{Kind::wait, nullptr, 0, 0, event, event->recorded});
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventQuery(cudaEvent_t asked) {
    LOCKED;
    auto* event = (Event*)asked;
    if (cudaError_t error = unsafe("cudaEventQuery")) return error;
    if (cudaError_t error = waits_for(event, "cudaEventQuery")) return error;
    if (event->done < event->recorded && ++event->polls < POLLS) return cudaErrorNotReady;
    if (event->stream) work_until(event->stream, event, event->recorded);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventSynchronize(cudaEvent_t awaited) {
    LOCKED;
    auto* event = (Event*)awaited;
    outside_of_graphs["wait for an event"]++;
    if (cudaError_t error = unsafe("cudaEventSynchronize")) return error;
    if (cudaError_t error = waits_for(event, "cudaEventSynchronize")) return error;
    if (event->stream) work_until(event->stream, event, event->recorded);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 1, cudaSuccess; }

// Captures and graphs.
EXPORTED cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    return std::swap(*mode, thread_mode), cudaSuccess;
}
EXPORTED cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    LOCKED;
    return *status = status_of(stream_of(stream)), cudaSuccess;
}
EXPORTED cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                              unsigned long long* id, cudaGraph_t* graph, const cudaGraphNode_t** nodes,
                                              const cudaGraphEdgeData** edges, size_t* count) {
    LOCKED;
    *status = status_of(stream_of(stream));
    if (id) *id = stream_of(stream)->capture;
    if (graph) *graph = (cudaGraph_t)stream_of(stream);
    if (nodes) *nodes = nullptr;
    if (edges) *edges = nullptr;
    if (count) *count = 0;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamBeginCapture(cudaStream_t on, cudaStreamCaptureMode mode) {
    LOCKED;
    Stream* stream = stream_of(on);
    if (stream == &legacy) return told(cudaErrorStreamCaptureUnsupported);
    if (stream->capture) return told(cudaErrorIllegalState);
    stream->capture = ++captures_begun;
    captures[stream->capture] = new Capture{stream->capture, stream, mode, pthread_self()};
    return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamEndCapture(cudaStream_t on, cudaGraph_t* graph) {
    LOCKED;
    *graph = nullptr;
    Stream* stream = stream_of(on);
    if (!stream->capture) return told(cudaErrorIllegalState);
    Capture* capture = captures[stream->capture];
    for (Stream* joined : streams)
        if (joined->capture == capture->id) joined->capture = 0;
    captures.erase(capture->id);
    if (capture->is_invalid) return told(cudaErrorStreamCaptureInvalidated);
    *graph = (cudaGraph_t) new Graph{capture->nodes, capture->copies};
    graph_nodes.push_back(capture->nodes);
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
    return *count = ((Graph*)graph)->nodes, cudaSuccess;
}
EXPORTED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    LOCKED;
    if (cudaError_t error = unsafe("cudaGraphInstantiate")) return error;
    return *made = (cudaGraphExec_t) new Graph(*(Graph*)graph), cudaSuccess;
}
EXPORTED cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t on) {
    LOCKED;
    replays++;
    for (Work work : ((Graph*)graph)->copies) {
        if (work.kind == Kind::upload) work.digest = digest_of(work.host, work.bytes);
        if (cudaError_t error = put(on, work, "copy of a graph")) return error;
    }
    return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
EXPORTED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }

// Kernels.
namespace {
struct Configuration {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t launch(const void* kernel, dim3 grid, dim3 block, cudaStream_t on) {
    LOCKED;
    bool is_possible = grid.x && grid.y && grid.z && grid.y <= 65535 && grid.z <= 65535 && block.x &&
                       block.x * block.y * block.z <= 1024;
    if (!is_possible) return fault("a kernel cannot have this grid"), told(cudaErrorInvalidConfiguration);
    auto name = kernel_names.find(kernel);
    return put(on, Work{}, name == kernel_names.end() ? "kernel without a name" : name->second);
}
}  // namespace
EXPORTED void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}
EXPORTED void __cudaRegisterFatBinaryEnd(void**) {}
EXPORTED void __cudaUnregisterFatBinary(void**) {}
EXPORTED void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
EXPORTED void __cudaRegisterFunction(void**, const char* kernel, char*, const char* name, int, uint3*, uint3*, dim3*,
                                     dim3*, int*) {
    LOCKED;
    kernel_names[kernel] = name;
}
EXPORTED unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    return configurations.push_back({grid, block, shared, stream}), 0;
}
EXPORTED cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    Configuration last = configurations.back();
    configurations.pop_back();
    *grid = last.grid, *block = last.block, *shared = last.shared, *(cudaStream_t*)stream = last.stream;
    return cudaSuccess;
}
EXPORTED cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void**, size_t, cudaStream_t on) {
    return launch(kernel, grid, block, on);
}
EXPORTED cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**, size_t, cudaStream_t on) {
    return launch(kernel, grid, block, on);
}
EXPORTED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void* kernel, void**) {
    return launch(kernel, how->gridDim, how->blockDim, how->stream);
}
EXPORTED cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    return *kernel = (cudaKernel_t)function, cudaSuccess;
}
EXPORTED cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    *attributes = cudaFuncAttributes{};
    attributes->maxThreadsPerBlock = 1024, attributes->numRegs = 32, attributes->maxDynamicSharedSizeBytes = 49152;
    attributes->ptxVersion = attributes->binaryVersion = capability();
    return cudaSuccess;
}
EXPORTED cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
EXPORTED cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t, cudaFuncAttribute, int, int) { return cudaSuccess; }
EXPORTED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t,
                                                                            unsigned) {
    return *blocks = 2, cudaSuccess;
}
EXPORTED cudaError_t cudaGetSymbolAddress(void** address, const void*) {
    static char symbol[65536];
    return *address = symbol, cudaSuccess;
}
