// A verilated tile behind a C interface: whole programs through its streams, nothing per cycle
// outside. Two files are written beside this one: "top.h" names the model's class, "ports.inc" its
// plain output ports. cimforge_verif/batch/library.py is the other side of every struct here.

#include <cstdint>
#include <cstring>
#include <memory>

#include "top.h"
#include "verilated.h"

namespace {

constexpr int kInputs = 3;  // commands, weights, acts

// One bit per cycle, set where a stream waits; beyond the end, never.
struct Stalls {
    const uint8_t* bits;
    uint64_t cycles;
    bool at(uint64_t cycle) const {
        return cycle < cycles && (bits[cycle >> 3] >> (cycle & 7) & 1);
    }
};

struct Input {
    const uint8_t* beats;
    uint64_t count;
    uint64_t bytes;  // of a beat
    Stalls stalls;
};

struct Job {
    Input inputs[kInputs];
    const uint8_t* expected;  // or null: nothing is compared
    uint8_t* results;
    uint64_t result_count;
    uint64_t result_bytes;
    Stalls sink;
    uint64_t limit;    // cycles after which the program counts as hung
    uint64_t watch;    // cycles to look for surplus results
    uint64_t end;      // opcode of the last command
    uint64_t stalled;  // whether anything waits: work out the stall counter
};

struct Outcome {
    uint64_t status;  // of Status
    uint64_t cycles;  // stepped
    uint64_t beats;   // results that arrived
    uint64_t sent[kInputs];
    uint64_t stall;  // what the tile's counter should say
};

enum Status : uint64_t { kDone = 0, kHung, kDiffers, kSurplus, kError, kProtocol };

// The signals of one stream, whatever their width: Verilator's integers and arrays of words are
// little-endian, so a payload is bytes.
struct Port {
    CData* valid;
    CData* ready;
    void* payload;
};

struct Tile {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Top> top;
    Port inputs[kInputs];
    Port results;

    Tile() {
        context->randReset(0);
        context->threads(1);
        enter();
        top.reset(new Top{context.get()});
// Verilator spells two underscores ___05F.
#define STREAM(name) \
    {&top->name##___05Fvalid, &top->name##___05Fready, &top->name##___05Fpayload}
        inputs[0] = STREAM(commands);
        inputs[1] = STREAM(weights);
        inputs[2] = STREAM(acts);
        results = STREAM(results);
#undef STREAM
    }
    ~Tile() {
        enter();
        top->final();
        top.reset();
    }

    // Verilator finds the context of a model through the thread; any thread may run any tile.
    void enter() { Verilated::threadContextp(context.get()); }

    // A rising edge with the inputs as they are; they may change before settle().
    void edge() {
        top->clk = 1;
        top->eval();
    }
    void settle() {
        top->clk = 0;
        top->eval();
    }

    void reset() {
        for (auto& port : inputs) *port.valid = 0;
        *results.ready = 0;
        top->clear = 0;
        top->rst = 1;
        settle();
        edge();
        settle();
        edge();
        top->rst = 0;
        settle();
    }
};

// The tile's stall counter from its ports alone, as docs/dcim.md defines it; the model of
// cimforge_verif/sim/stall_model.py.
struct StallModel {
    uint64_t count = 0;
    bool started = false, holds = false, is_end = false;

    void step(const Tile& tile, uint64_t end) {
        const Port& commands = tile.inputs[0];
        const bool accepted = *commands.valid && *commands.ready;
        const bool ended = holds && is_end && *commands.ready;
        const bool starved = started && *commands.ready && !*commands.valid && !ended;
        bool waits = starved || (*tile.results.valid && !*tile.results.ready);
        for (int i = 1; i < kInputs; ++i) waits |= *tile.inputs[i].ready && !*tile.inputs[i].valid;
        count += (started || accepted) && waits;
        if (accepted) {
            started = true;
            is_end = (*static_cast<const uint8_t*>(commands.payload) & 15) == end;
        }
        if (ended && !accepted) started = false;
        holds = accepted || (holds && !*commands.ready);
    }
};

class Run {
  public:
    Run(Tile& tile, const Job& job, Outcome& out) : tile_(tile), job_(job), out_(out) {}

    uint64_t program() {
        tile_.enter();
        tile_.reset();
        while (out_.cycles < job_.limit) {
            if (Status status = cycle()) return status;
            if (finished()) return watch();
            if (out_.cycles % 16 == 0 && tile_.top->error) return kError;
        }
        return kHung;
    }

  private:
    // One rising edge: what was on the ports before it moves; what is driven changes after it.
    Status cycle() {
        if (job_.stalled) model_.step(tile_, job_.end);
        bool moved[kInputs];
        for (int i = 0; i < kInputs; ++i)
            moved[i] = *tile_.inputs[i].valid && *tile_.inputs[i].ready;
        const Status status = take();
        tile_.edge();
        for (int i = 0; i < kInputs; ++i) offer(i, moved[i]);
        *tile_.results.ready = !job_.sink.at(out_.cycles);
        tile_.settle();
        ++out_.cycles;
        return status;
    }

    Status take() {
        const Port& port = tile_.results;
        if (!*port.valid) {
            const bool dropped = waits_;
            waits_ = false;
            return dropped ? kProtocol : kDone;
        }
        waits_ = !*port.ready;
        if (waits_) return kDone;
        if (out_.beats == job_.result_count) return kSurplus;
        uint8_t* to = job_.results + out_.beats * job_.result_bytes;
        std::memcpy(to, port.payload, job_.result_bytes);
        if (job_.expected && std::memcmp(to, job_.expected + out_.beats * job_.result_bytes,
                                         job_.result_bytes))
            return kDiffers;
        ++out_.beats;
        return kDone;
    }

    void offer(int i, bool moved) {
        const Input& input = job_.inputs[i];
        const Port& port = tile_.inputs[i];
        if (*port.valid && !moved) return;
        out_.sent[i] += moved;
        // A pattern has an element for every offer that could be made, as StreamDriver takes them.
        const bool wait = input.stalls.at(offers_[i]++);
        const bool valid = !wait && out_.sent[i] < input.count;
        if (valid) std::memcpy(port.payload, input.beats + out_.sent[i] * input.bytes, input.bytes);
        *port.valid = valid;
    }

    bool finished() const {
        if (out_.beats < job_.result_count || tile_.top->busy) return false;
        for (int i = 0; i < kInputs; ++i)
            if (out_.sent[i] < job_.inputs[i].count) return false;
        return true;
    }

    uint64_t watch() {
        for (uint64_t i = 0; i < job_.watch; ++i)
            if (Status status = cycle()) return status;
        return kDone;
    }

    Tile& tile_;
    const Job& job_;
    Outcome& out_;
    StallModel model_;
    bool waits_ = false;
    uint64_t offers_[kInputs] = {};

  public:
    uint64_t stall() const { return model_.count; }
};

}  // namespace

extern "C" {

Tile* tile_new() { return new Tile; }

void tile_delete(Tile* tile) { delete tile; }

void tile_run(Tile* tile, const Job* job, Outcome* out) {
    *out = Outcome{};
    Run run{*tile, *job, *out};
    out->status = run.program();
    out->stall = run.stall();
}

// The value of an output port, all of which are at most 64 bits wide; all ones for an unknown name.
uint64_t tile_peek(const Tile* tile, const char* name) {
#define PORT(port, member) \
    if (!std::strcmp(name, port)) return tile->top->member;
#include "ports.inc"
#undef PORT
    return ~uint64_t{0};
}

}  // extern "C"
