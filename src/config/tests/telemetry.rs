//! `[telemetry]` and `[audit]`.

use super::*;

#[test]
fn traces_go_where_they_are_told() {
    let telemetry = |text: &str| Trial::new(&format!("[telemetry]\n{text}")).load().telemetry;
    assert_eq!(telemetry("").otlp, None);
    assert_eq!(telemetry("otlp_endpoint = \"\"\notlp_sample = 0.5\n").otlp, None);
    let otlp = telemetry("otlp_endpoint = \"http://collector:4318\"\n").otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.sample), ("http://collector:4318/v1/traces", 1.0));
    assert_eq!((otlp.service_name.as_str(), otlp.headers.len()), ("portcullis", 0));
    let full = telemetry(
        "otlp_endpoint = \"https://otel.example/in/v1/traces\"\notlp_sample = 0.25\nservice_name = \"gate\"\n\
         otlp_headers = \"x-key=a=b, authorization=Bearer hunter2\"\n",
    );
    let otlp = full.otlp.unwrap();
    assert_eq!((otlp.endpoint.path(), otlp.sample, otlp.service_name.as_str()), ("/in/v1/traces", 0.25, "gate"));
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("x-key", "a=b"), ("authorization", "Bearer hunter2")]);
    assert!(!format!("{otlp:?}").contains("hunter2"));
    let variable = Trial::new("")
        .with(&[("PORTCULLIS__TELEMETRY__OTLP_ENDPOINT", "http://a:1/"), ("PORTCULLIS__TELEMETRY__OTLP_SAMPLE", "0")])
        .load();
    let otlp = variable.telemetry.otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.sample), ("http://a:1/v1/traces", 0.0));
    let errors = Trial::new(
        "[telemetry]\notlp_endpoint = \"grpc://a\"\notlp_sample = \"half\"\notlp_headers = \"hunter2\"\n\
         service_name = \"\"\n",
    )
    .errors();
    assert_errors(
        &errors,
        &[
            "portcullis.toml:2: telemetry.otlp_endpoint: \"grpc://a\" is not the URL of a collector of OTLP over HTTP: write",
            "portcullis.toml:3: telemetry.otlp_sample: must be a number from 0 to 1 without quotes, such as 0.1",
            "portcullis.toml:4: telemetry.otlp_headers: is not a list of fields: write \"name=value,name=value\"",
            "portcullis.toml:5: telemetry.service_name: must not be empty",
        ],
    );
    assert!(!errors.join("").contains("hunter2"), "{errors:?}");
    let errors = Trial::new("[telemetry]\notlp_endpoint = \"http://u:hunter2@a\"\notlp_sample = 1.5\n").errors();
    assert!(errors[0].contains("otlp_headers_file") && errors[1].contains("from 0 to 1"), "{errors:?}");
    assert!(!errors.join("").contains("hunter2"), "{errors:?}");
}

#[test]
fn the_audit_log_goes_to_a_file_too() {
    let trial = Trial::new("[audit]\nfile = \"audit.jsonl\"\n");
    let config = trial.load();
    let file = config.audit.file.unwrap();
    assert!(file.is_absolute() && file.ends_with("audit.jsonl"), "{}", file.display());
    assert!(!config.files.contains(&file), "whoever watches the configuration would reload it with every line");
    assert_errors(
        &Trial::new("[audit]\nfile = \"\"\n").errors(),
        &["portcullis.toml:2: audit.file: must not be empty"],
    );
}
