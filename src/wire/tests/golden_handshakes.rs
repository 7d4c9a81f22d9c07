//! The exact bytes of what two processes say before they know each other, as in `golden_bytes`.

use super::{
    super::{Channel, Confines, Hello, Lineage, Place, Resource, StartConfig},
    golden_bytes::{TOKEN, complete, golden},
};

#[test]
fn start_configurations() {
    let config = |place| StartConfig {
        token: TOKEN,
        place,
        slot: 3,
        generation: 300,
        grace_ms: 3000,
        own_group: true,
        wrapped: true,
        confines: Confines {
            modesty: 5,
            nice: -2,
            cpus: vec![1, 300],
            oom_score_adj: Some(800),
            limits: vec![(Resource::OpenFiles, 256), (Resource::AddressSpace, 0)],
        },
        lineage: Lineage {
            level: 1,
            cpus: 300,
            counted: 0b1_0000_0001,
        },
        looks_for_inherited: true,
    };
    let places: [(Place, &[u8]); 2] = [
        (Place::Path(vec![b'/', 0xff]), b"\x00\x02/\xff"),
        (Place::Name("mp".to_owned()), b"\x01\x02mp"),
    ];
    let number = |place: &Place| match place {
        Place::Path(_) => 0,
        Place::Name(_) => 1,
    };
    complete(&places, number, 2);
    for (place, bytes) in places {
        let confines = [5, 254, 2, 1, 172, 2, 1, 192, 12, 2, 4, 128, 2, 0, 0];
        let rest = [
            &[3, 172, 2, 184, 23, 1, 1][..],
            &confines,
            &[1, 172, 2, 129, 2, 1],
        ]
        .concat();
        golden(&config(place), &[&TOKEN[..], bytes, &rest].concat());
    }
}

#[test]
fn hellos() {
    for (channel, number) in [(Channel::Data, 0), (Channel::Control, 1)] {
        // A further channel does not compile here.
        match channel {
            Channel::Data | Channel::Control => {}
        }
        let hello = Hello {
            channel,
            token: TOKEN,
        };
        let bytes = hello.to_bytes();
        assert_eq!(bytes[..], [&b"actix-mp"[..], &[number], &TOKEN].concat());
        assert_eq!(Hello::from_bytes(&bytes), Some(hello));
    }
}

#[test]
fn strangers_hellos_are_none() {
    let hello = Hello {
        channel: Channel::Data,
        token: TOKEN,
    };
    for (at, byte) in [(0, b'A'), (7, b'q'), (8, 2)] {
        let mut bytes = hello.to_bytes();
        bytes[at] = byte;
        assert_eq!(Hello::from_bytes(&bytes), None);
    }
    let mut bytes = hello.to_bytes();
    bytes[Hello::BYTES - 1] ^= 1;
    assert!(!Hello::from_bytes(&bytes).unwrap().has(&TOKEN));
    assert!(hello.has(&TOKEN));
}
