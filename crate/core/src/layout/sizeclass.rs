//! What Go's allocator makes of a requested size.

/// runtime.class_to_size (internal/runtime/gc.SizeClassToSize since go1.25):
/// the same 67 classes in Go 1.21 to 1.27.
pub const SIZE_CLASSES: [u64; 67] = [
    8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352,
    384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048,
    2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
    10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
    32768,
];

const MAX_SMALL: u64 = 32768;
const HEADER: u64 = 8;
const HEAP_PAGE: u64 = 8192;

/// The rules of one release's allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocator {
    /// Objects with pointers above a size carry an 8-byte header: since go1.22
    /// (`runtime.minSizeForMallocHeader`).
    pub malloc_headers: bool,
    /// Bytes of a pointer.
    pub pointer_size: u8,
}

impl Allocator {
    /// The header an object carries in its slot, in bytes.
    fn header(self, size: u64, noscan: bool) -> u64 {
        // minSizeForMallocHeader = PtrSize * ptrBits.
        let pointer = u64::from(self.pointer_size);
        let threshold = pointer * pointer * 8;
        let small = size <= MAX_SMALL - HEADER;
        if self.malloc_headers && !noscan && size > threshold && small {
            HEADER
        } else {
            0
        }
    }

    /// Bytes of the allocator slot that holds an object of `size` bytes.
    /// `noscan`: it holds no pointers.
    #[must_use]
    pub fn slot(self, size: u64, noscan: bool) -> u64 {
        let needed = size.saturating_add(self.header(size, noscan));
        let small_max = if self.malloc_headers {
            MAX_SMALL - HEADER
        } else {
            MAX_SMALL
        };
        if size > small_max {
            return size.div_ceil(HEAP_PAGE).saturating_mul(HEAP_PAGE);
        }
        if size == 0 {
            // mallocgc returns the address of runtime.zerobase.
            return 0;
        }
        let class = SIZE_CLASSES.partition_point(|class| *class < needed);
        SIZE_CLASSES.get(class).copied().unwrap_or(MAX_SMALL)
    }

    /// runtime.roundupsize: the bytes of that slot the object may use.
    #[must_use]
    pub fn usable(self, size: u64, noscan: bool) -> u64 {
        self.slot(size, noscan) - self.header(size, noscan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Allocator = Allocator {
        malloc_headers: false,
        pointer_size: 8,
    };
    const NEW: Allocator = Allocator {
        malloc_headers: true,
        pointer_size: 8,
    };

    // Expected values follow runtime/msize.go of go1.21.13 and go1.27.3.
    #[test]
    fn sizes_round_up_as_in_the_runtime() {
        for (size, noscan, old, new) in [
            (1, true, 8, 8),
            (48, false, 48, 48),
            (49, true, 64, 64),
            (208, false, 208, 208),
            (512, false, 512, 512),
            (520, false, 576, 576),
            (569, false, 576, 640),
            (576, true, 576, 576),
            (1020, true, 1024, 1024),
            (17408, false, 18432, 18432),
            (32760, false, 32768, 32768),
            (32761, true, 32768, 32768),
            (32768, true, 32768, 32768),
            (32769, true, 40960, 40960),
            (56576, false, 57344, 57344),
        ] {
            assert_eq!(OLD.slot(size, noscan), old, "old {size}");
            assert_eq!(NEW.slot(size, noscan), new, "new {size}");
        }
        assert_eq!(NEW.usable(569, false), 632);
        assert_eq!(NEW.slot(u64::MAX, true), u64::MAX);
    }
}
