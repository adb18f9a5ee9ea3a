//! The library against a faulty hub: bytes, hashes, tries, and what is visible meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use fathom_harness::fetch::choice::Patterns;
use fathom_harness::fetch::patience::Limits;
use fathom_harness::fetch::snapshot::{Fetched, fetch};
use fathom_harness::fetch::source::Source;
use fathom_harness::fetch::{Settings, verify};
use fathom_harness::http::Token;
use fathom_harness::stop::Stop;

use crate::hub::{COMMIT, Fault, Hub};
use crate::{LARGE, TOKEN, Test, a_hub, all_right, nothing_wrong_is_visible, repo, snapshot};

fn settings(hub: &Hub, cache: &Path) -> Settings {
    Settings {
        endpoint: hub.url.clone(),
        token: Token::new(TOKEN),
        cache: cache.to_path_buf(),
        offline: false,
        jobs: 3,
        stall: Duration::from_millis(400),
        limits: Limits {
            tries: 4,
            deadline: Duration::from_secs(20),
        },
        free_space: |_| Ok(u64::MAX),
    }
}

fn get(settings: &Settings) -> Result<Fetched, fathom_harness::Error> {
    let source = Source::parse("hf:owner/name")?;
    fetch(&source, &Patterns::default(), settings, &Stop::default())
}

#[test]
fn a_model_comes_whole_in_the_layout_of_huggingface_hub() -> Test {
    let (hub, files) = a_hub()?;
    let temp = tempfile::tempdir()?;
    let fetched = get(&settings(&hub, temp.path()))?;
    all_right(temp.path(), &files)?;
    assert_eq!((fetched.files, fetched.folder), (5, snapshot(temp.path())));
    // The two equal files are one blob, the empty one needs no request.
    assert_eq!((fetched.came, fetched.bytes), (350_009, 350_018));
    let link = std::fs::read_link(snapshot(temp.path()).join("sub/other.bin"))?;
    let blob = format!("../../../blobs/{}", hub.hash("sub/other.bin"));
    assert_eq!(link, Path::new(&blob));
    let text = |path: &str| std::fs::read_to_string(repo(temp.path()).join(path));
    assert_eq!(text("refs/main")?, COMMIT);
    let tree: serde_json::Value = serde_json::from_str(&text(&format!("trees/{COMMIT}.json"))?)?;
    assert_eq!(tree["files"][LARGE]["lfs_sha256"], hub.hash(LARGE));
    assert!(hub.asked("/tree/").len() > 2, "the listing has pages");
    // Again: everything is hashed, nothing comes.
    let again = get(&settings(&hub, temp.path()))?;
    assert_eq!((again.came, hub.sent(LARGE)), (0, 300_000));
    Ok(())
}

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() -> Test {
    let (hub, _) = a_hub()?;
    let temp = tempfile::tempdir()?;
    get(&settings(&hub, temp.path()))?;
    let bearer = format!("Bearer {TOKEN}");
    let (mut own, mut other) = (0, 0);
    for asked in hub.asked("/") {
        if asked.path.starts_with("/cdn/") {
            other += 1;
            assert_eq!(asked.authorization, None, "{}", asked.path);
        } else {
            own += 1;
            assert_eq!(asked.authorization.as_deref(), Some(&*bearer));
        }
    }
    assert!(own > 4 && other == 2);
    Ok(())
}

#[test]
fn each_fault_costs_its_own_file_another_try_and_no_byte_is_wrong() -> Test {
    use Fault::{Corrupt, IgnoreRange, Stall, Status, Truncate, WrongRange};
    // The faults in turn, the bytes of the file that go out for them, and its requests.
    let cases: [(&[Fault], usize, usize); 9] = [
        (&[Truncate(100_000), Truncate(150_000)], 300_000, 3),
        (&[Stall(70_000)], 300_000, 2),
        (&[Corrupt], 600_000, 2),
        (&[Truncate(0), Status(503, 0)], 300_000, 3),
        (&[Status(404, 0)], 300_000, 2),
        (&[Truncate(100_000), IgnoreRange(300_000)], 400_000, 2),
        (&[Truncate(100_000), IgnoreRange(200_000)], 400_000, 3),
        (&[Truncate(100_000), WrongRange], 0, 3),
        (&[Truncate(100_000), Corrupt], 600_000, 3),
    ];
    for (faults, sent, requests) in cases {
        let (hub, files) = a_hub()?;
        let temp = tempfile::tempdir()?;
        hub.fault(LARGE, faults);
        let fetched = get(&settings(&hub, temp.path())).map_err(|e| format!("{faults:?}: {e}"))?;
        all_right(temp.path(), &files)?;
        assert!(fetched.came >= 350_009, "{faults:?}");
        // A refused answer may have been on its way already.
        if sent > 0 {
            assert_eq!(hub.sent(LARGE), sent, "{faults:?}");
        }
        assert_eq!(hub.asked("/cdn/sub/other.bin").len(), 1, "{faults:?}");
        assert_eq!(hub.asked("/cdn/model").len(), requests, "{faults:?}");
    }
    Ok(())
}

#[test]
fn a_cut_file_goes_on_by_range_with_the_validator_of_its_host() -> Test {
    let (hub, _) = a_hub()?;
    let temp = tempfile::tempdir()?;
    hub.fault(LARGE, &[Fault::Truncate(123_456)]);
    get(&settings(&hub, temp.path()))?;
    let asked = hub.asked("/cdn/model");
    assert_eq!(asked[1].range.as_deref(), Some("bytes=123456-"));
    let etag = format!("\"{}\"", hub.hash(LARGE));
    assert_eq!(asked[1].if_range.as_deref(), Some(&*etag));
    // The hub's own answer to the redirect has no validator of the second host.
    assert!(hub.asked("/resolve/").iter().all(|a| a.if_range.is_none()));
    Ok(())
}

#[test]
fn a_file_that_stays_wrong_or_away_fails_alone_and_has_no_name() -> Test {
    for (fault, named) in [
        (Fault::Corrupt, "expected "),
        (Fault::Status(404, 0), "404"),
        (Fault::Status(500, 0), "500"),
        (Fault::Truncate(0), "after 0 of"),
    ] {
        let (hub, files) = a_hub()?;
        let temp = tempfile::tempdir()?;
        hub.always(LARGE, fault);
        let mut settings = settings(&hub, temp.path());
        settings.limits.tries = 3;
        let error = get(&settings).err().ok_or("fetched")?;
        let text = error.to_string();
        assert_eq!(error.exit_code(), 3);
        assert!(text.contains(LARGE) && text.contains(named), "{text}");
        assert!(!text.contains("s3cret") && !text.contains(TOKEN), "{text}");
        nothing_wrong_is_visible(&hub, temp.path(), &files)?;
        assert!(!snapshot(temp.path()).join(LARGE).is_symlink());
        assert!(!repo(temp.path()).join("refs/main").exists());
        all_right(temp.path(), &files[1..])?;
        // When the hub is well again, only this file comes.
        hub.mend();
        let other = hub.sent("sub/other.bin");
        get(&settings)?;
        all_right(temp.path(), &files)?;
        assert_eq!(hub.sent("sub/other.bin"), other);
    }
    Ok(())
}

#[test]
fn a_limit_of_rate_is_respected_and_an_endless_one_is_not_waited_for() -> Test {
    let (hub, files) = a_hub()?;
    let temp = tempfile::tempdir()?;
    hub.fault("config.json", &[Fault::Status(429, 2)]);
    let begun = Instant::now();
    get(&settings(&hub, temp.path()))?;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    all_right(temp.path(), &files)?;
    let temp = tempfile::tempdir()?;
    hub.fault("config.json", &[Fault::Status(429, 3600)]);
    let begun = Instant::now();
    let error = get(&settings(&hub, temp.path())).err().ok_or("fetched")?;
    assert!(error.to_string().contains("3600 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    Ok(())
}

#[test]
fn a_listing_that_leads_out_of_the_folder_is_refused() -> Test {
    let hash = "a".repeat(40);
    let item = |path: &str| {
        serde_json::json!({"type": "file", "oid": hash, "size": 1, "path": path}).to_string()
    };
    let listings = [
        item("../../../../evil"),
        item("/tmp/evil"),
        item("a\\..\\evil"),
        item("a/./evil"),
        format!("{},{}", item("a"), item("a/evil")),
        format!("{},{}", item("evil"), item("evil")),
        item("evil").replace(&hash, "../../evil"),
        item("evil").replace("\"file\"", "\"link\""),
        item("evil").replace("\"size\":1", "\"size\":-1"),
        item("evil").replace("\"file\"", "\"directory\""),
    ];
    for listing in listings {
        let (hub, _) = a_hub()?;
        let temp = tempfile::tempdir()?;
        hub.listing(&format!("[{listing}]"));
        let error = get(&settings(&hub, &temp.path().join("cache"))).err();
        let text = error.ok_or(listing.clone())?.to_string();
        assert!(text.contains("unusable answer"), "{listing}: {text}");
        assert!(hub.asked("/resolve/").is_empty());
        let made: Vec<_> = std::fs::read_dir(temp.path())?.collect();
        assert!(made.len() <= 1, "{listing}");
    }
    Ok(())
}

#[test]
fn without_room_nothing_is_begun() -> Test {
    let (hub, files) = a_hub()?;
    let temp = tempfile::tempdir()?;
    let small = Settings {
        free_space: |_| Ok(350_008),
        ..settings(&hub, temp.path())
    };
    let error = get(&small).err().ok_or("fetched")?;
    assert!(error.to_string().contains("are free"), "{error}");
    assert_eq!((error.exit_code(), hub.asked("/resolve/").len()), (3, 0));
    // What has come already needs no room again.
    hub.always(LARGE, Fault::Truncate(1));
    let mut broken = settings(&hub, temp.path());
    broken.limits.tries = 1;
    assert!(get(&broken).is_err());
    hub.mend();
    get(&Settings {
        free_space: |_| Ok(299_999),
        ..small
    })?;
    all_right(temp.path(), &files)
}

#[test]
fn what_rots_is_found_and_fetched_again() -> Test {
    let (hub, files) = a_hub()?;
    let temp = tempfile::tempdir()?;
    let settings = settings(&hub, temp.path());
    get(&settings)?;
    let folder = snapshot(temp.path());
    let check = |folder: &Path| -> Result<Vec<String>, fathom_harness::Error> {
        let all = verify::folder(folder, &Patterns::default(), &Stop::default())?;
        assert!(all.len() >= 4);
        let wrong = all.into_iter().filter_map(|c| {
            let name = c.path.file_name()?.to_string_lossy().into_owned();
            Some(format!("{name} {}", c.wrong?))
        });
        Ok(wrong.collect())
    };
    assert!(check(&folder)?.is_empty());
    let blob = repo(temp.path()).join("blobs").join(hub.hash(LARGE));
    let mut bytes = files[0].1.clone();
    bytes[200_000] ^= 4;
    std::fs::write(&blob, &bytes)?;
    std::fs::remove_file(folder.join("sub/copy.json"))?;
    for place in [folder.clone(), repo(temp.path())] {
        let wrong = check(&place)?;
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("model.safetensors has the SHA-256"));
        assert_eq!(wrong[1], "copy.json is missing");
    }
    // Without the listing, the names of the blobs say what is wrong.
    let tree = repo(temp.path()).join(format!("trees/{COMMIT}.json"));
    std::fs::remove_file(&tree)?;
    assert_eq!(check(&folder)?.len(), 1);
    assert_eq!(get(&settings)?.came, 300_000);
    assert!(check(&folder)?.is_empty());
    all_right(temp.path(), &files)
}
