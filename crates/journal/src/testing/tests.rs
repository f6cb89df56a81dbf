//! The faulty disk fails as promised.

use super::*;

fn file(storage: &FaultyStorage) -> Arc<dyn File> {
    let file = storage.create(Path::new("/d/f")).unwrap();
    storage.sync_dir(Path::new("/d")).unwrap();
    file
}

fn contents(storage: &FaultyStorage) -> Vec<u8> {
    storage.contents(Path::new("/d/f")).unwrap()
}

#[test]
fn what_was_not_synced_is_forgotten_and_the_old_handle_is_dead() {
    let storage = FaultyStorage::new();
    let file = file(&storage);
    file.write_at(0, b"synced").unwrap();
    file.sync_data().unwrap();
    file.write_at(3, b"written").unwrap();
    storage.create(Path::new("/d/unlisted")).unwrap();
    storage.crash(Crash::Forget);
    assert_eq!(contents(&storage), b"synced");
    assert_eq!(storage.files(), [Path::new("/d/f")]);
    assert!(file.write_at(0, b"x").is_err());
}

#[test]
fn after_a_failed_sync_bytes_read_back_but_no_later_sync_saves_them() {
    let storage = FaultyStorage::new();
    let file = file(&storage);
    storage.fail_syncs(1);
    file.write_at(0, b"doubtful").unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(contents(&storage), b"doubtful");
    storage.crash(Crash::Forget);
    assert_eq!(contents(&storage), [0; 8]);
}

#[test]
fn a_full_disk_takes_a_part_of_a_write() {
    let storage = FaultyStorage::new();
    let file = file(&storage);
    storage.set_capacity(Some(4));
    let error = file.write_at(0, b"123456").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(contents(&storage), b"1234");
    assert!(file.allocate(5).is_err());
    file.write_at(0, b"abcd").unwrap();
}

#[test]
fn a_torn_crash_is_the_same_for_the_same_seed() {
    let torn = |seed| {
        let storage = FaultyStorage::new();
        let file = file(&storage);
        file.write_at(0, &[1; 5000]).unwrap();
        file.sync_data().unwrap();
        file.write_at(1000, &[2; 9000]).unwrap();
        storage.crash(Crash::Torn { seed });
        contents(&storage)
    };
    assert_eq!(torn(7), torn(7));
    assert!((0..10).any(|seed| torn(seed) != torn(seed + 1)));
    assert!((0..10).all(|seed| torn(seed)[..1000] == [1; 1000]));
}

#[test]
fn a_file_renamed_over_another_is_there_whole_or_the_other_is() {
    for seed in 0..64 {
        let disk = FaultyStorage::new();
        let (old, new) = (Path::new("/d/state"), Path::new("/d/state.new"));
        disk.set_contents(old, b"old".to_vec());
        let file = disk.create(new).unwrap();
        file.write_at(0, b"new").unwrap();
        file.sync_data().unwrap();
        disk.rename(new, old).unwrap();
        assert_eq!(disk.files(), [old]);
        disk.crash(Crash::Torn { seed });
        let contents = disk.contents(old).unwrap();
        match disk.contents(new) {
            None => assert!([&b"old"[..], b"new"].contains(&&contents[..])),
            Some(left) => assert_eq!((&contents[..], &left[..]), (&b"old"[..], &b"new"[..])),
        }
    }
}
