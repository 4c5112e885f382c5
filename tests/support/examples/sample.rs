//! Writes real-shaped e-mail records into a directory, for `aws s3 sync`: `sample COUNT DIR [SEED]`. The real SES events
//! and RFC 5322 messages come first, under `fixtures/`; then COUNT generated records under the names they have in a bucket.

use std::{env, error::Error, fs, path::Path};

use geoseal_support::{
    fixtures,
    records::{Mix, Records},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [count, directory, seed @ ..] = &arguments[..] else {
        return Err("usage: sample COUNT DIR [SEED]".into());
    };
    let (count, seed) = (count.parse()?, seed.first().map_or(Ok(1), |s| s.parse())?);
    let real = fixtures::all().into_iter().map(|f| (format!("fixtures/{}", f.name), f.bytes));
    let made = Records::new(seed, Mix::Small).take(count).map(|r| (r.name, r.body));
    let (mut files, mut total) = (0, 0);
    for (name, body) in real.chain(made) {
        let path = Path::new(directory).join(name);
        fs::create_dir_all(path.parent().ok_or("a record's name has no folder")?)?;
        fs::write(path, &body)?;
        (files, total) = (files + 1, total + body.len());
    }
    println!("{files} records, {total} bytes, in {directory}");
    Ok(())
}
