//! Times of what a run brought.

use oci_assemble::image::Epoch;
use oci_assemble::tree::TreeDelta;

/// `delta` with the times that an image may have. `started` is the start of the run, seconds since 1970.
///
/// What is as old as the run or younger was made by it (by scripts, or as a directory that something was put into) and
/// gets `epoch`. What is older came out of a package, whose database knows the time (`rpm -V` compares it), and keeps
/// it, also when it is later than the epoch: it depends on the package alone. A time before 1970 becomes 0, as tar
/// headers have no sign for every reader.
pub fn date(delta: &TreeDelta, started: i64, epoch: Epoch) -> TreeDelta {
    let mut dated = TreeDelta::new();
    for (path, inode) in delta.entries() {
        let mut inode = inode.clone();
        inode.meta.mtime = if inode.meta.mtime >= started { epoch.seconds() } else { inode.meta.mtime.max(0) };
        dated.insert(path.clone(), inode);
    }
    delta.whiteouts().iter().for_each(|path| dated.whiteout(path.clone()));
    delta.opaques().iter().for_each(|path| dated.opaque(path.clone()));
    dated
}
